/** Real networks on loopback. */
import { type Clock, systemClock } from '../../protocols/clock.ts'
import { encodeFrame, encodeHeader, type FrameHead } from '../../protocols/frame.ts'
import { createLibp2pNetwork, type Libp2pInit, type Libp2pNetwork } from '../../protocols/libp2p.ts'
import { createNode, type Node, startNode } from '../../protocols/libp2p-node.ts'
import type { Message } from '../../protocols/network.ts'
import type { TestSwarm } from '../conformance/network.ts'

export const LOOPBACK: Libp2pInit = {
  listen: ['/ip4/127.0.0.1/tcp/0'],
  bootstrap: [],
  mdns: null,
}

export const createPeer = (init: Partial<Libp2pInit> = {}): Promise<Libp2pNetwork> =>
  createLibp2pNetwork({ ...LOOPBACK, ...init }, { clock: systemClock })

/** Peer id whose key was discarded. */
export const STRANGER = '12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo'

/** Port 1 is reserved, and nothing listens there on machines that run tests. */
const NOWHERE = '/ip4/127.0.0.1/tcp/1'

export async function createSwarm(peerCount: number): Promise<TestSwarm> {
  const peers = await Promise.all(Array.from({ length: peerCount }, () => createPeer()))
  return {
    peers,
    clock: systemClock,
    stranger: STRANGER,
    nowhere: NOWHERE,
    run: (work) => work(),
    stop: async () => {
      await Promise.all(peers.map((peer) => peer.stop()))
    },
  }
}

/** A libp2p peer without the protocols of this program. The test decides what it sends. */
export async function createRawPeer(): Promise<Node> {
  const { listen, bootstrap } = LOOPBACK
  const node = await createNode({ listen, bootstrap, mdns: null, found: () => {} })
  await startNode(node, listen)
  return node
}

export const frameBytes = (head: FrameHead, message: Message): Uint8Array =>
  Buffer.concat([...encodeFrame(head, encodeHeader(message), message.body)])

/** Resolves with the next event of that name. */
export const next = (target: Pick<EventTarget, 'addEventListener'>, name: string) =>
  new Promise<Event>((resolve) => target.addEventListener(name, resolve, { once: true }))

/** A clock whose sleeps the test ends. */
export class StillClock implements Clock {
  #next = Promise.withResolvers<{ end(): void }>()

  now(): number {
    return 0
  }

  sleep(_ms: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
    this.#next.resolve({ end: resolve })
    this.#next = Promise.withResolvers()
    return promise
  }

  /** Resolves with the next sleep. */
  nextSleep(): Promise<{ end(): void }> {
    return this.#next.promise
  }
}
