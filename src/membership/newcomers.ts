/** The peers in no roster that asked this peer lately to be let in. */
import type { Clock } from '../../protocols/clock.ts'
import type { PeerId } from '../../protocols/network.ts'
import { NEWCOMERS_MAX, TIMEOUTS } from '../base/limits.ts'

export class Newcomers {
  readonly #clock: Clock
  /** When each of them asked, in milliseconds of the clock. */
  readonly #askedAt = new Map<PeerId, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The peer asks to be let in. */
  asks(peer: PeerId): void {
    if (this.#askedAt.size < NEWCOMERS_MAX) this.#askedAt.set(peer, this.#clock.now())
  }

  /** The connection to the peer has ended. A peer that searches on dials anew, and asks again. */
  leaves(peer: PeerId): void {
    this.#askedAt.delete(peer)
  }

  /** Those that asked within the time in which a newcomer asks three times. */
  get present(): PeerId[] {
    const since = this.#clock.now() - 3 * TIMEOUTS.admissionMs
    for (const [peer, at] of this.#askedAt) if (at < since) this.#askedAt.delete(peer)
    return [...this.#askedAt.keys()]
  }
}
