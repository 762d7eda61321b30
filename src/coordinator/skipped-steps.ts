/**
 * Steps that are skipped because sound holders cannot compute their microbatches. A skipped step is committed with a gradient
 * of zero and a learning rate of zero, so that all members, a resumed run and a replay skip the same tokens.
 */
import type { Journal } from '../base/journal.ts'
import { SKIPS_MAX } from '../base/limits.ts'
import type { Run } from '../run/run.ts'
import { learningRateAt } from '../run/schedule.ts'
import type { BatchFault } from './batch-fault.ts'
import { RunFailure } from './run-failure.ts'

interface Due {
  readonly step: number
  readonly fault: BatchFault
}

export class SkippedSteps {
  readonly #run: Run
  readonly #journal: Journal
  #due: Due | null = null
  /** Steps that were skipped one after another, the latest last. */
  #inRow: number[] = []
  #total = 0
  #isDiverging = false

  constructor(run: Run, journal: Journal) {
    this.#run = run
    this.#journal = journal
  }

  /** The step is to be skipped. @throws RunFailure if too many steps in a row were skipped before it */
  note(step: number, fault: BatchFault): void {
    if (this.#inRow.length + 1 >= SKIPS_MAX) {
      const steps = [...this.#inRow, step].join(', ')
      throw new RunFailure(
        `steps ${steps} cannot be computed, one after another: ${fault.message}. The training diverges: ${this.#remedy(step)}, or look at the data of these steps`,
      )
    }
    this.#due = { step, fault }
  }

  /** Why the step is to be skipped; null if it is to be made. */
  faultOf(step: number): BatchFault | null {
    return this.#due?.step === step ? this.#due.fault : null
  }

  /** The step was skipped. */
  skipped(step: number, { microbatches, producers, message }: BatchFault): void {
    this.#due = null
    this.#inRow.push(step)
    this.#total++
    this.#journal.write({
      type: 'skipped',
      step,
      microbatches,
      producers,
      reason: message,
      total: this.#total,
    })
  }

  /** The step was made. Says once when the loss is far above that of a model that knows nothing. */
  made(step: number, loss: number): void {
    this.#due = null
    this.#inRow = []
    const guess = Math.log(this.#run.model.vocabSize)
    const isDiverging = loss > DIVERGED * guess
    if (isDiverging && !this.#isDiverging) {
      const message = `the loss of step ${step} is ${loss.toPrecision(4)}, and a guess has ${guess.toPrecision(4)}: the training diverges. Stop it, and ${this.#remedy(step)}`
      this.#journal.write({ type: 'notice', message })
    }
    this.#isDiverging = isDiverging
  }

  #remedy(step: number): string {
    const { optimizer, steps } = this.#run
    return `lower optimizer.learningRate, which is ${optimizer.learningRate} (${learningRateAt(optimizer, step, steps)} in step ${step})`
  }
}

/** A loss that is this many times the loss of a guess is a sign of divergence. */
const DIVERGED = 2
