/** The time that messages take from one peer to another. */
import type { PeerId } from '../../protocols/network.ts'

export interface Link {
  /** Milliseconds one way. */
  readonly latencyMs: number
  /** 1,250 for 10 Mbit/s. Infinity if only latency counts. */
  readonly bytesPerMs: number
  /**
   * The line on which bodies are sent one after another. Left out: the uplink of the sender. A name: a line that all pairs
   * share whose links have that name, such as an ocean's cable. Null: none, and each transfer has the link to itself.
   */
  readonly queue?: string | null
}

/** The link from one peer to another. The two directions may differ, but the link of a pair never changes. */
export type LinkTable = (from: PeerId, to: PeerId) => Link

export interface Load {
  /** Bytes of the frame's prefix and the header, by the rule of message-size.ts. */
  readonly headBytes: number
  /**
   * Bytes of the body, by the same rule. Undefined without a body. Bodies are sent one after another on the link's line.
   * Headers alone pass between the chunks of a body, as on Yamux, and are too small to take from its bandwidth.
   */
  readonly bodyBytes: number | undefined
}

/** One each for TCP, Noise and the agreement on Yamux. */
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
   * Sends a load at `now`, and returns the milliseconds until it arrives. The downlink of the receiver is not modelled: if
   * it is the bottleneck, give the links to it less bandwidth.
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

  /** Drops the queue of a dead peer. */
  forget(peer: PeerId): void {
    this.#uplinkFreeAt.delete(peer)
  }
}
