/** The machines that check one history of epochs each: one set for each incarnation of the run. */
import type { Run } from '../../src/run/run.ts'
import { type Checker, HISTORY_INVARIANTS, type InvariantName } from './invariants.ts'

interface History {
  readonly I2: ReturnType<typeof HISTORY_INVARIANTS.I2>
  readonly I3: ReturnType<typeof HISTORY_INVARIANTS.I3>
}

export class Histories {
  readonly #run: Run
  readonly #violate: (name: InvariantName, what: string) => void
  /** By the id of the incarnation. */
  readonly #histories = new Map<string, History>()

  constructor(run: Run, runId: string, violate: (name: InvariantName, what: string) => void) {
    this.#run = run
    this.#violate = violate
    this.#histories.set(runId, this.#begin(null, 0))
  }

  /**
   * An incarnation begins after this step of the one before. What the one before made later is given up. Has no effect for
   * an incarnation that has begun.
   */
  begin(id: string, ancestor: string, step: number): void {
    if (this.#histories.has(id)) return
    this.#histories.set(id, this.#begin(this.#histories.get(ancestor) ?? null, step))
  }

  /** The machines of one incarnation; none for an id that is not of one. */
  of(id: string): readonly Checker[] {
    const history = this.#histories.get(id)
    return history === undefined ? [] : [history.I2, history.I3]
  }

  #begin(before: History | null, step: number): History {
    const { I2, I3 } = HISTORY_INVARIANTS
    const from = { step, weights: before?.I2.weights ?? null, steps: before?.I3.decided ?? null }
    return {
      I2: I2(this.#run, (what) => this.#violate('I2', what), from),
      I3: I3(this.#run, (what) => this.#violate('I3', what), from),
    }
  }
}
