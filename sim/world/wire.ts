/**
 * How long messages are on their way. Every one passes here, so this is where faults belong: a message that is lost,
 * late, or cut off by a partition is one whose transit is another.
 */
import type { PeerId } from '../../protocols/network.ts'

export interface Link {
  /** One way. */
  readonly latencyMs: number
  /** 1,250 for 10 Mbit/s; Infinity where only latency counts. */
  readonly bytesPerMs: number
  /**
   * Where bodies wait their turn. Left out: on the sender's uplink. A name: on a link that all pairs share whose links
   * bear that name, an ocean's cable. Null: nowhere, each transfer has the link to itself.
   */
  readonly queue?: string | null
}

/** The link from one peer to another; it need not be the same in both directions, but always the same for a pair. */
export type LinkTable = (from: PeerId, to: PeerId) => Link

export interface Load {
  /** Of prefix and header. */
  readonly headBytes: number
  /**
   * Undefined without a body. Bodies wait their turn where the link says, one after another. Headers alone slip in
   * between the chunks of a body, as they do on Yamux, and are too small to be counted against it.
   */
  readonly bodyBytes: number | undefined
}

/** TCP, Noise and the agreement on Yamux take one each. */
export const HANDSHAKE_ROUND_TRIPS = 3

export class Wire {
  readonly #links: LinkTable
  readonly #uplinkFreeAt = new Map<PeerId, number>()
  readonly #sharedFreeAt = new Map<string, number>()

  constructor(links: LinkTable) {
    this.#links = links
  }

  latencyMs(from: PeerId, to: PeerId): number {
    return this.#links(from, to).latencyMs
  }

  handshakeMs(from: PeerId, to: PeerId): number {
    return HANDSHAKE_ROUND_TRIPS * (this.latencyMs(from, to) + this.latencyMs(to, from))
  }

  /**
   * Puts a load on the way at `now`, and says how long it takes. The receiver's downlink is not modelled: where it is
   * the narrow place, give the links to it less.
   */
  transitMs(now: number, from: PeerId, to: PeerId, { headBytes, bodyBytes }: Load): number {
    const { latencyMs, bytesPerMs, queue } = this.#links(from, to)
    const sendingMs = (headBytes + (bodyBytes ?? 0)) / bytesPerMs
    if (bodyBytes === undefined || queue === null) return sendingMs + latencyMs
    const [freeAt, name] =
      queue === undefined ? [this.#uplinkFreeAt, from] : [this.#sharedFreeAt, queue]
    const sentAt = Math.max(now, freeAt.get(name) ?? 0) + sendingMs
    freeAt.set(name, sentAt)
    return sentAt - now + latencyMs
  }

  /** What a peer had queued is gone with it. */
  forget(peer: PeerId): void {
    this.#uplinkFreeAt.delete(peer)
  }
}
