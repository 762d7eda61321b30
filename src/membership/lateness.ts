/**
 * How late things are here: timers of this process, and answers of peers. A busy machine or a lossy network makes many peers
 * look silent at once. While things are late, a peer that does not answer is asked for longer before it counts as lost.
 */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { LATE_MAX, TIMEOUTS } from '../base/limits.ts'

export class Lateness {
  readonly #clock: Clock
  /** Delays that were noted lately, the oldest first. */
  #late: { readonly at: number; readonly ms: number }[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Notes how late a timer was, or how long an answer took, in milliseconds. */
  note(ms: number): void {
    if (ms < TIMEOUTS.lateMs) return
    this.#late.push({ at: this.#clock.now(), ms })
    if (this.#late.length > LATE_MAX) this.#late.shift()
  }

  /** Sleeps, and notes how late this peer woke up. @throws the reason of the signal */
  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    const due = this.#clock.now() + ms
    await this.#clock.sleep(ms, signal)
    this.note(this.#clock.now() - due)
  }

  /** Milliseconds for which a peer that does not answer is asked again; 0 unless something was late lately. */
  get graceMs(): number {
    const since = this.#clock.now() - TIMEOUTS.lateWindowMs
    this.#late = this.#late.filter(({ at }) => at >= since)
    const worst = this.#late.reduce((max, { ms }) => Math.max(max, ms), 0)
    return Math.min(2 * worst, TIMEOUTS.graceMs)
  }

  /** Asks again as long as a missing answer may be this machine's own fault. @throws what `ask` throws in the end */
  async patiently<T>(signal: AbortSignal, ask: () => Promise<T>): Promise<T> {
    const begun = this.#clock.now()
    for (;;) {
      try {
        return await ask()
      } catch (error) {
        signal.throwIfAborted()
        const isSilent = error instanceof ProtocolError && error.code === 'TIMEOUT'
        if (!isSilent || this.#clock.now() - begun >= this.graceMs) throw error
      }
    }
  }
}
