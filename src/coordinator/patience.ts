/** Measures how long a run has had too few members. */
import type { Clock } from '../../protocols/clock.ts'

export class Patience {
  readonly #clock: Clock
  readonly #afterMs: number
  readonly #signal: AbortSignal
  /** When there were first too few members, in milliseconds of the clock; null while there are enough. */
  #since: number | null = null

  /** @param afterMs how long too few members are put up with; Infinity waits for ever */
  constructor(clock: Clock, afterMs: number, signal: AbortSignal) {
    this.#clock = clock
    this.#afterMs = afterMs
    this.#signal = signal
  }

  /** There are enough members, or the time starts again. */
  reset(): void {
    this.#since = null
  }

  /** Waits for a change. False if there have been too few members for all of `afterMs`, and no change came. */
  async lasts(change: Promise<void>): Promise<boolean> {
    if (this.#afterMs === Number.POSITIVE_INFINITY) {
      await change
      return true
    }
    const now = this.#clock.now()
    this.#since ??= now
    const over = new AbortController()
    const signal = AbortSignal.any([over.signal, this.#signal])
    const late = this.#clock
      .sleep(Math.max(0, this.#since + this.#afterMs - now), signal)
      .then(() => false)
    late.catch(() => {})
    try {
      return await Promise.race([change.then(() => true), late])
    } finally {
      over.abort()
    }
  }
}
