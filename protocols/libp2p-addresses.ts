/**
 * Addresses of other peers in libp2p's store. The store keeps the addresses of a wanted peer without an end. It keeps those of
 * any other peer while a connection to that peer stands, so that the store does not grow with each identity ever seen.
 */
import type { PeerInfo } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import type { Node } from './libp2p-node.ts'
import { ADDRESSES_MAX, type PeerId } from './network.ts'

/** Peers found by mDNS that are kept. */
const FOUND_MAX = 256

export class Addresses {
  readonly #node: Node
  readonly #failed: (why: unknown) => void
  /** Peers that this peer may call later. */
  readonly #wanted = new Set<PeerId>()
  readonly #found = new Set<PeerId>()

  /** @param failed called when the store cannot be written, because `learn` does not wait */
  constructor(node: Node, failed: (why: unknown) => void) {
    this.#node = node
    this.#failed = failed
    // libp2p's own listener is older than this one, and reads the store before the entry is deleted.
    node.addEventListener('peer:disconnect', ({ detail }) => this.left(detail.toString()))
  }

  /** Peers found by mDNS, the latest last. */
  get found(): readonly PeerId[] {
    return [...this.#found]
  }

  /** Keeps the addresses of this peer from now on. */
  want(peer: PeerId): void {
    this.#wanted.add(peer)
  }

  /** Stores the addresses instead of earlier ones: a dead address would delay each dial. */
  learn(peer: PeerId, addresses: readonly string[]): void {
    const multiaddrs = addresses
      .slice(0, ADDRESSES_MAX)
      .flatMap((address) => parsed(multiaddr, address))
    for (const id of parsed(peerIdFromString, peer)) {
      if (id.equals(this.#node.peerId)) continue
      this.#wanted.add(peer)
      if (multiaddrs.length === 0) continue
      // The store locks a peer during a write, so that a call made right after this one finds the addresses.
      this.#node.peerStore.patch(id, { multiaddrs }).catch(this.#failed)
    }
  }

  /** Stores the addresses of a peer on the local network beside earlier ones. */
  async find({ id, multiaddrs }: PeerInfo): Promise<void> {
    const peer = id.toString()
    this.#found.add(peer)
    const [oldest] = this.#found
    if (this.#found.size > FOUND_MAX) {
      this.#found.delete(oldest!)
      this.left(oldest!)
    }
    await this.#node.peerStore.merge(id, { multiaddrs })
  }

  forget(peer: PeerId): void {
    this.#wanted.delete(peer)
    this.left(peer)
  }

  /** Drops the addresses of a peer that nobody wants. @param peer a peer whose connection may have ended */
  left(peer: PeerId): void {
    if (this.#wanted.has(peer) || this.#found.has(peer)) return
    for (const id of parsed(peerIdFromString, peer)) {
      if (this.#node.getConnections(id).length > 0) continue
      this.#node.peerStore.delete(id).catch(this.#failed)
    }
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
