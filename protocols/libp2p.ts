/**
 * `Network` over libp2p: TCP, Noise, Yamux, identify, ping and gossipsub.
 *
 * One stream for each peer, protocol and caller stays open; requests go out on it and their answers come back, told
 * apart by ids. Frames (frame.ts) are sent whole, one after another, so that a large body holds up other calls of its
 * own protocol for as long as it takes to send, and those of other protocols not at all.
 */
import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { type Clock, withDeadline } from './clock.ts'
import { Calls } from './libp2p-calls.ts'
import { Gossip } from './libp2p-gossip.ts'
import { createNode, type Node, type NodeInit } from './libp2p-node.ts'
import { Server } from './libp2p-serve.ts'
import type { CallOptions, Network, PeerId } from './network.ts'
import { unreachable } from './unreachable.ts'

/** Streams that one peer may have open to us for one protocol: one is used, others may still be closing. */
const STREAMS_PER_PROTOCOL = 8

/** Addresses remembered from one `learn`; they come from other peers. */
const ADDRESSES_MAX = 16

export interface Libp2pInit extends NodeInit {
  /** Finds peers on the local network. */
  readonly mdns: boolean
}

export interface Libp2pComponents {
  readonly clock: Clock
}

/** What went wrong on the wire since the start, for the journal. */
export interface NetworkCounts {
  /** Streams aborted because what came was not a frame. */
  garbage: number
  /** Requests turned away before their handler ran. */
  refused: number
  /** Announcements that could not be sent. */
  unpublished: number
}

export interface Libp2pNetwork extends Network {
  readonly counts: Readonly<NetworkCounts>
}

/**
 * @example
 * ```ts
 * const network = await createLibp2pNetwork(
 *   { listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap: [], mdns: false },
 *   { clock: systemClock },
 * )
 * const peer = await network.connect('/ip4/127.0.0.1/tcp/4001', { timeoutMs: 5_000 })
 * ```
 * @throws ListenError
 */
export async function createLibp2pNetwork(
  init: Libp2pInit,
  { clock }: Libp2pComponents,
): Promise<Libp2pNetwork> {
  const node = await createNode(init)
  const counts: NetworkCounts = { garbage: 0, refused: 0, unpublished: 0 }
  const garbage = () => counts.garbage++
  const calls = new Calls({
    clock,
    garbage,
    open: (peer, protocol, signal) =>
      node.dialProtocol(peerIdFromString(peer), protocol, { signal }),
  })
  const server = new Server({ clock, garbage, refused: () => counts.refused++ })
  const gossip = new Gossip(node.services.pubsub, () => counts.unpublished++)
  const lost = new Set<(peer: PeerId) => void>()
  node.addEventListener('peer:disconnect', ({ detail }) => {
    for (const listener of lost) listener(detail.toString())
  })

  return {
    self: node.peerId.toString(),
    counts,
    get addresses() {
      return node.getMultiaddrs().map(String)
    },
    handle(protocol, handler) {
      const remove = server.handle(protocol, handler)
      // libp2p knows the protocol when this returns; what it promises is only that its peer store has heard of it.
      void node.handle(
        protocol,
        (stream, { remotePeer }) => server.serve(stream, remotePeer.toString(), protocol),
        { maxInboundStreams: STREAMS_PER_PROTOCOL, maxOutboundStreams: STREAMS_PER_PROTOCOL },
      )
      return () => {
        remove()
        void node.unhandle(protocol)
      }
    },
    call: (peer, protocol, message, options) => calls.call(peer, protocol, message, options),
    connect: (address, options) => connect(node, clock, address, options),
    learn(peer, addresses) {
      const multiaddrs = addresses.slice(0, ADDRESSES_MAX).flatMap(parseMultiaddr)
      void node.peerStore.merge(peerIdFromString(peer), { multiaddrs })
    },
    publish: (topic, header) => gossip.publish(topic, header),
    subscribe: (topic, listener) => gossip.subscribe(topic, listener),
    onLost: (listener) => listen(lost, listener),
    onFound: () => () => {},
    async stop() {
      server.stop()
      await calls.stop()
      await node.stop()
    },
  }
}

async function connect(
  node: Node,
  clock: Clock,
  address: string,
  { timeoutMs, signal }: CallOptions,
): Promise<PeerId> {
  try {
    const connection = await withDeadline(
      { clock, timeoutMs, signal },
      'a connection',
      async (over) => await node.dial(multiaddr(address), { signal: over }),
    )
    return connection.remotePeer.toString()
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    throw unreachable(address, error)
  }
}

/** Addresses come from other peers: what is not one is passed over. */
function parseMultiaddr(address: string): Multiaddr[] {
  try {
    return [multiaddr(address)]
  } catch {
    return []
  }
}

function listen<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}
