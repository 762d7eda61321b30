/** Counts connections without the key of the run's network, and tells of them at most once a minute. */
import type { Clock } from '../../protocols/clock.ts'
import type { Journal } from '../base/journal.ts'
import { TIMEOUTS } from '../base/limits.ts'

export class Strangers {
  readonly #clock: Clock
  #journal: Journal | null = null
  #count = 0
  #toldAt = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The journal that is told from now on. */
  tell(journal: Journal): void {
    this.#journal = journal
  }

  /** A connection was closed, since its first bytes did not prove the key. */
  refused(): void {
    this.#count++
    const now = this.#clock.now()
    if (this.#journal === null || now - this.#toldAt < TIMEOUTS.strangersMs) return
    this.#toldAt = now
    const message = `connections without the key of this run: ${this.#count} closed since this process started. A peer with another run.json or secret, or a stranger, dials this address`
    this.#journal.write({ type: 'notice', message })
  }
}
