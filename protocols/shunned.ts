/** The peers that this one has no connection with for a while. */
import type { Clock } from './clock.ts'
import type { PeerId } from './network.ts'

/** Peers that are remembered. Each had to be a peer with the key of the run first. */
const SHUNNED_MAX = 4096

export class Shunned {
  readonly #clock: Clock
  /** Until when, in milliseconds of the clock. The peer that was shunned last comes last. */
  readonly #until = new Map<PeerId, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(peer: PeerId, ms: number): void {
    this.#until.delete(peer)
    this.#until.set(peer, this.#clock.now() + ms)
    if (this.#until.size > SHUNNED_MAX) this.#until.delete(this.#until.keys().next().value!)
  }

  has(peer: PeerId): boolean {
    const until = this.#until.get(peer)
    if (until === undefined) return false
    if (until > this.#clock.now()) return true
    this.#until.delete(peer)
    return false
  }
}
