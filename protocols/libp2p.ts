/**
 * `Network` over libp2p: TCP, Noise, Yamux, identify, ping and gossipsub.
 *
 * One stream for each peer, protocol and caller stays open. The stream carries requests and their answers, with an id for each
 * call. Frames (frame.ts) are sent whole, one after another. A large body therefore delays other calls of its own protocol
 * while it is sent, and does not delay calls of other protocols.
 */
import type { PeerInfo } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { type Clock, withDeadline } from './clock.ts'
import { Calls } from './libp2p-calls.ts'
import { Gossip } from './libp2p-gossip.ts'
import { createNode, type Node, type NodeInit, startNode } from './libp2p-node.ts'
import { Server } from './libp2p-serve.ts'
import type { CallOptions, Handler, Json, Message, Network, PeerId, Received } from './network.ts'
import { unreachable } from './unreachable.ts'

/** Streams that one peer may have open to this node for one protocol. One is in use, and others may still be closing. */
const STREAMS_PER_PROTOCOL = { maxInboundStreams: 8, maxOutboundStreams: 8 }

/** Addresses remembered from one `learn`. The limit exists because the addresses come from other peers. */
const ADDRESSES_MAX = 16

/** Peers found by mDNS that are kept for listeners added later. */
const FOUND_MAX = 256

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
  const node = await createNode({ ...init, found })
  const network = new Libp2pNetwork(node, clock)
  await startNode(node, init.listen)
  return network
}

export class Libp2pNetwork implements Network {
  readonly self: PeerId
  readonly #node: Node
  readonly #clock: Clock
  readonly #calls: Calls
  readonly #server: Server
  readonly #gossip: Gossip
  readonly #counts: NetworkCounts = { garbage: 0, refused: 0, dropped: 0 }
  readonly #dropped = () => {
    this.#counts.dropped++
  }
  readonly #onLost = new Set<PeerListener>()
  readonly #onFound = new Set<PeerListener>()
  readonly #found = new Set<PeerId>()

  /** Use createLibp2pNetwork: the node must not have been started yet. */
  constructor(node: Node, clock: Clock) {
    const garbage = () => this.#counts.garbage++
    this.self = node.peerId.toString()
    this.#node = node
    this.#clock = clock
    this.#calls = new Calls({
      clock,
      garbage,
      open: (peer, protocol, signal) =>
        node.dialProtocol(peerIdFromString(peer), protocol, { signal }),
    })
    this.#server = new Server({ clock, garbage, refused: () => this.#counts.refused++ })
    this.#gossip = new Gossip(node.services.pubsub, this.#dropped)
    node.addEventListener('peer:disconnect', ({ detail }) => {
      for (const listener of this.#onLost) listener(detail.toString())
    })
  }

  get addresses(): readonly string[] {
    return this.#node.getMultiaddrs().map(String)
  }

  get counts(): Readonly<NetworkCounts> {
    return { ...this.#counts }
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
      return connection.remotePeer.toString()
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      throw unreachable(address, error)
    }
  }

  learn(peer: PeerId, addresses: readonly string[]): void {
    const multiaddrs = addresses
      .slice(0, ADDRESSES_MAX)
      .flatMap((address) => parsed(multiaddr, address))
    for (const id of parsed(peerIdFromString, peer)) {
      // The store locks a peer during a write, so that a call made right after this one finds the addresses.
      this.#node.peerStore.merge(id, { multiaddrs }).catch(this.#dropped)
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
    const seen = [...this.#found]
    queueMicrotask(() => {
      for (const peer of seen) if (this.#onFound.has(listener)) listener(peer)
    })
    return listen(this.#onFound, listener)
  }

  /** Called by mDNS every ten seconds for each peer, connected or not. */
  found({ id, multiaddrs }: PeerInfo): void {
    this.#node.peerStore
      .merge(id, { multiaddrs })
      .then(() => this.#tellFound(id.toString()), this.#dropped)
  }

  #tellFound(peer: PeerId): void {
    this.#found.add(peer)
    if (this.#found.size > FOUND_MAX) this.#found.delete(this.#found.values().next().value!)
    for (const listener of this.#onFound) listener(peer)
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

/** Parses a name or an address from another peer. An invalid one gives an empty list. */
function parsed<T>(parse: (text: string) => T, text: string): T[] {
  try {
    return [parse(text)]
  } catch {
    return []
  }
}

function listen<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}
