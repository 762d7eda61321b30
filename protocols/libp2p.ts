/**
 * `Network` over libp2p: TCP, Noise, Yamux, identify, ping and gossipsub.
 *
 * One stream for each peer, protocol and caller stays open. The stream carries requests and their answers, with an id for each
 * call. Frames (frame.ts) are sent whole, one after another. A large body therefore delays other calls of its own protocol
 * while it is sent, and does not delay calls of other protocols.
 */
import type { Connection, PeerInfo, Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { hostOf } from './address.ts'
import { type Clock, withDeadline } from './clock.ts'
import { Addresses } from './libp2p-addresses.ts'
import { Calls } from './libp2p-calls.ts'
import { Gossip } from './libp2p-gossip.ts'
import { reachable } from './libp2p-listening.ts'
import { createNode, type Node, type NodeInit, startNode } from './libp2p-node.ts'
import { Server } from './libp2p-serve.ts'
import {
  type CallOptions,
  type Handler,
  type Json,
  type Message,
  type Network,
  type PeerId,
  REDIAL_MS,
  type Received,
} from './network.ts'
import { Offences } from './offences.ts'
import { Shunned } from './shunned.ts'
import { isShutOut, shutOut, unreachable } from './unreachable.ts'

/** Streams that one peer may have open to this node for one protocol. One is in use, and others may still be closing. */
const STREAMS_PER_PROTOCOL = { maxInboundStreams: 8, maxOutboundStreams: 8 }

/** Streams of a peer that may carry bytes which are no frame, in a window. Then the peer is cut off for a while. */
const GARBAGE_MAX = 20
const GARBAGE_WINDOW_MS = 60_000
const GARBAGE_SHUN_MS = 600_000

export type Libp2pInit = Omit<NodeInit, 'found'>

export interface Libp2pComponents {
  readonly clock: Clock
}

/** Counts of failures on the wire since the start, for the journal. */
export interface NetworkCounts {
  /** Streams aborted because of bytes that are not a frame. */
  garbage: number
  /** Requests refused before their handler ran. */
  refused: number
  /** Announcements that could not be sent, and addresses that could not be stored. */
  dropped: number
}

type PeerListener = (peer: PeerId) => void

/**
 * @example
 * ```ts
 * const network = await createLibp2pNetwork(
 *   { listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap: [], mdns: null },
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
  const found = (peer: PeerInfo) => network.found(peer)
  const shunned = new Shunned(clock)
  const { admits: mayEnter = () => true } = init
  const admits = (peer: PeerId) => !shunned.has(peer) && mayEnter(peer)
  const node = await createNode({ ...init, found, admits })
  const network = new Libp2pNetwork(node, clock, init.listen, shunned)
  // A call that fails before libp2p has noted these peers would make their addresses be forgotten.
  for (const address of init.bootstrap) {
    network.learn(address.slice(address.lastIndexOf('/') + 1), [address])
  }
  await startNode(node, init.listen)
  return network
}

export class Libp2pNetwork implements Network {
  readonly self: PeerId
  readonly #node: Node
  readonly #clock: Clock
  readonly #listen: readonly string[]
  readonly #calls: Calls
  readonly #server: Server
  readonly #gossip: Gossip
  readonly #addresses: Addresses
  readonly #shunned: Shunned
  readonly #counts: NetworkCounts = { garbage: 0, refused: 0, dropped: 0 }
  readonly #dropped = () => {
    this.#counts.dropped++
  }
  /** When each connection was made, in milliseconds of the clock. */
  readonly #openedAt = new WeakMap<Connection, number>()
  readonly #onLost = new Set<PeerListener>()
  readonly #onFound = new Set<PeerListener>()

  /** Use createLibp2pNetwork: the node must not have been started yet. @param listen addresses that the user chose */
  constructor(node: Node, clock: Clock, listen: readonly string[], shunned: Shunned) {
    this.#listen = listen
    this.#shunned = shunned
    const offences = new Offences(clock, GARBAGE_MAX, GARBAGE_WINDOW_MS)
    const garbage = (peer: PeerId) => {
      this.#counts.garbage++
      if (offences.note(peer)) this.shun(peer, GARBAGE_SHUN_MS)
    }
    this.self = node.peerId.toString()
    this.#node = node
    this.#clock = clock
    this.#addresses = new Addresses(node, this.#dropped)
    this.#calls = new Calls({ clock, garbage, open: (...stream) => this.#open(...stream) })
    this.#server = new Server({ clock, garbage, refused: () => this.#counts.refused++ })
    this.#gossip = new Gossip(node.services.pubsub, this.#dropped)
    node.addEventListener('connection:open', ({ detail }) => {
      this.#openedAt.set(detail, clock.now())
      this.#endOlder(detail)
    })
    node.addEventListener('peer:disconnect', ({ detail }) => {
      for (const listener of this.#onLost) listener(detail.toString())
    })
  }

  get addresses(): readonly string[] {
    return reachable(this.#node.getMultiaddrs().map(String), this.#listen)
  }

  get counts(): Readonly<NetworkCounts> {
    return { ...this.#counts }
  }

  hostOf(peer: PeerId): string | null {
    const connection = this.#node
      .getConnections()
      .find((each) => each.remotePeer.toString() === peer)
    return connection === undefined ? null : hostOf(connection.remoteAddr.toString())
  }

  handle(protocol: string, handler: Handler): () => void {
    const remove = this.#server.handle(protocol, handler)
    // libp2p serves the protocol when this call returns. The promise waits for the peer store alone.
    this.#node
      .handle(
        protocol,
        (stream, { remotePeer }) => this.#server.serve(stream, remotePeer.toString(), protocol),
        STREAMS_PER_PROTOCOL,
      )
      .catch(this.#dropped)
    return () => {
      remove()
      this.#node.unhandle(protocol).catch(this.#dropped)
    }
  }

  call(peer: PeerId, protocol: string, message: Message, options: CallOptions): Promise<Received> {
    return this.#calls.call(peer, protocol, message, options)
  }

  async connect(address: string, { timeoutMs, signal }: CallOptions): Promise<PeerId> {
    try {
      const connection = await withDeadline(
        { clock: this.#clock, timeoutMs, signal },
        'a connection',
        async (over) => await this.#node.dial(multiaddr(address), { signal: over }),
      )
      const peer = connection.remotePeer.toString()
      this.#addresses.want(peer)
      return peer
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      throw isShutOut(error) ? shutOut(address, error) : unreachable(address, error)
    }
  }

  learn(peer: PeerId, addresses: readonly string[]): void {
    this.#addresses.learn(peer, addresses)
  }

  forget(peer: PeerId): void {
    this.#addresses.forget(peer)
  }

  disconnect(peer: PeerId, stoodMs = 0): void {
    const isOfPeer = ({ remotePeer }: Connection) => remotePeer.toString() === peer
    const now = this.#clock.now()
    const open = this.#node
      .getConnections()
      .filter((each) => isOfPeer(each) && now - (this.#openedAt.get(each) ?? 0) >= stoodMs)
    const byAge = open.toSorted((a, b) => a.timeline.open - b.timeline.open)
    for (const connection of byAge.slice(0, Math.max(1, byAge.length - 1))) {
      connection.abort(new Error('the peer does not answer over it'))
    }
  }

  shun(peer: PeerId, ms: number): void {
    this.#shunned.add(peer, ms)
    for (const connection of this.#node.getConnections()) {
      if (connection.remotePeer.toString() !== peer) continue
      connection.abort(new Error('the peer is cut off for what it did'))
    }
  }

  publish(topic: string, header: Json): void {
    this.#gossip.publish(topic, header)
  }

  subscribe(topic: string, listener: (from: PeerId, header: unknown) => void): () => void {
    return this.#gossip.subscribe(topic, listener)
  }

  onLost(listener: PeerListener): () => void {
    return listen(this.#onLost, listener)
  }

  /** Also calls the listener for peers found before, because mDNS asks only every ten seconds. */
  onFound(listener: PeerListener): () => void {
    const seen = this.#addresses.found
    queueMicrotask(() => {
      for (const peer of seen) if (this.#onFound.has(listener)) listener(peer)
    })
    return listen(this.#onFound, listener)
  }

  /** Called by mDNS every ten seconds for each peer, connected or not. */
  found(info: PeerInfo): void {
    const peer = info.id.toString()
    this.#addresses.find(info).then(() => {
      for (const listener of this.#onFound) listener(peer)
    }, this.#dropped)
  }

  /** Ends connections to the peer of a new one that are so much older that the peer must have lost them. */
  #endOlder({ id, remotePeer, timeline }: Connection): void {
    for (const other of this.#node.getConnections(remotePeer)) {
      const isOld = timeline.open - other.timeline.open > REDIAL_MS
      if (other.id !== id && isOld) other.abort(new Error('the peer has dialled again'))
    }
  }

  async #open(peer: PeerId, protocol: string, signal: AbortSignal): Promise<Stream> {
    try {
      return await this.#node.dialProtocol(peerIdFromString(peer), protocol, { signal })
    } catch (error) {
      // libp2p notes a failed dial in its store, also for a peer that it does not know.
      this.#addresses.left(peer)
      throw error
    }
  }

  async stop(): Promise<void> {
    this.#server.stop()
    this.#gossip.stop()
    await this.#calls.stop()
    // libp2p would take up to half a second to close each connection. All calls have ended already.
    for (const connection of this.#node.getConnections()) connection.abort(new Error('stopping'))
    await this.#node.stop()
  }
}

function listen<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}
