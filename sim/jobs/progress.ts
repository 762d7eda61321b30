/** Prints from time to time how far jobs are, and how long they will take. */
import { systemClock } from '../../protocols/clock.ts'
import type { Terminal } from '../../src/base/terminal.ts'
import type { Job } from './crew.ts'

const PROGRESS_MS = 30_000

export class Progress {
  readonly #terminal: Terminal
  readonly #jobs: number
  readonly #steps: number
  readonly #begun = systemClock.now()
  #finished = 0
  /** Time of the last line. The first line waits, since the first steps mostly measure the start of processes. */
  #saidAt = this.#begun

  constructor(out: Terminal, jobs: readonly Job[]) {
    this.#terminal = out
    this.#jobs = jobs.length
    this.#steps = jobs.reduce((sum, { steps }) => sum + steps, 0)
    if (this.#jobs > 0) out.line(`${this.#jobs} ${this.#jobs === 1 ? 'run' : 'runs'} to play`)
  }

  finished(): void {
    this.#finished++
    this.#saidAt = Number.NEGATIVE_INFINITY
  }

  steps(made: number): void {
    const now = systemClock.now()
    if (now - this.#saidAt < PROGRESS_MS) return
    this.#saidAt = now
    const left = ((now - this.#begun) / made) * (this.#steps - made)
    const share = Math.round((100 * made) / this.#steps)
    this.#terminal.line(
      `${this.#finished} of ${this.#jobs} runs, ${share} % of their steps, ` +
        `about ${Math.ceil(left / 60_000)} min left`,
    )
  }
}
