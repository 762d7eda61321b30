/** How long a coordinator waits for somebody to take a stage, before the run is cut anew for those who are there. */
import type { Clock } from '../../protocols/clock.ts'

export class Patience {
  readonly #clock: Clock
  readonly #afterMs: number
  readonly #signal: AbortSignal
  /** When it was first seen that there are too few; null while there are enough. */
  #since: number | null = null

  /** @param afterMs Infinity waits for ever */
  constructor(clock: Clock, afterMs: number, signal: AbortSignal) {
    this.#clock = clock
    this.#afterMs = afterMs
    this.#signal = signal
  }

  /** There are enough members, or it has to be waited anew. */
  reset(): void {
    this.#since = null
  }

  /** Waits for a change. False if none came, and it has been waited for so long in all. */
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
