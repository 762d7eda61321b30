/** Counts the work in progress of each peer. */
import type { PeerId } from './network.ts'

export class Tally {
  readonly #counts = new Map<PeerId, number>()

  of(peer: PeerId): number {
    return this.#counts.get(peer) ?? 0
  }

  /** Counts one more for the peer until `work` settles. */
  async during<T>(peer: PeerId, work: () => Promise<T>): Promise<T> {
    this.#counts.set(peer, this.of(peer) + 1)
    try {
      return await work()
    } finally {
      const left = this.of(peer) - 1
      if (left > 0) this.#counts.set(peer, left)
      else this.#counts.delete(peer)
    }
  }
}
