/** The gradient of one step, summed over all holders of a stage, as one version of the step's plan makes it. */
import { ProtocolError } from '../../protocols/errors.ts'
import type { ReduceQuestion } from '../../protocols/step.ts'
import { gradientsMs } from '../run/budgets.ts'
import { type FetchContext, fetchGradients } from './fetch-gradients.ts'
import { normOf, reduceSums } from './reduce.ts'
import type { StageReplica, TotalGradient } from './stage-replica.ts'
import type { Fence } from './step-progress.ts'

/** The holders whose sums are added, and the owners that add them. */
type Parts = Pick<ReduceQuestion, 'owners' | 'contributors'>

export interface TotalContext extends FetchContext {
  /** This member's id. */
  readonly ownId: number
}

export class StepTotal {
  readonly fence: Fence
  readonly version: number
  readonly #replica: StageReplica
  readonly #context: TotalContext
  /**
   * The memory of the total once the range that this member adds up is there; null if the total ended before. Another
   * replica may ask for the range before this member is told to add it up, and waits for it.
   */
  readonly #range = Promise.withResolvers<Float32Array | null>()
  /** The norm, once asked for: the total is made once, however often it is asked for. */
  #norm: Promise<number> | null = null
  #complete: TotalGradient | null = null
  #hasEnded = false

  constructor(replica: StageReplica, context: TotalContext, fence: Fence, version: number) {
    const { run, epoch, step } = fence
    this.fence = { run, epoch, step }
    this.version = version
    this.#replica = replica
    this.#context = context
  }

  get isComplete(): boolean {
    return this.#complete !== null
  }

  /** @throws ProtocolError STALE before the total is complete */
  get complete(): TotalGradient {
    if (this.#complete !== null) return this.#complete
    throw new ProtocolError('STALE', `step ${this.fence.step} is not prepared here`)
  }

  /** True for the total of this step under this fence, as this version of the plan makes it. */
  isOf({ epoch, step }: Fence, version: number): boolean {
    return this.fence.step === step && this.fence.epoch === epoch && this.version === version
  }

  /**
   * Makes the stage's own sums the total, for a stage with one holder and no other replica.
   * @returns L2 norm of the mean gradient, before clipping
   * @throws ProtocolError NON_FINITE; STALE if the total has ended
   */
  takeOwnSums(): Promise<number> {
    const { stage } = this.#replica
    this.#norm ??= this.#finish(stage.sums, () => stage.gradientNorm())
    return this.#norm
  }

  /**
   * Adds up the sums of all holders, together with them. A member that is not one of them only fetches the total.
   * @returns L2 norm of the mean gradient, before clipping
   * @throws ProtocolError NON_FINITE; STALE if the total has ended; and what fetching throws
   */
  reduce(parts: Parts): Promise<number> {
    this.#norm ??= this.#sumUp(parts)
    return this.#norm
  }

  /** Resolves when the range that this member adds up is in the total's memory. @throws ProtocolError STALE */
  async ownedRange(): Promise<Float32Array> {
    const totals = await this.#range.promise
    if (totals !== null) return totals
    throw passed()
  }

  /** Ends the total: it was applied, or its plan has passed. */
  end(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#range.resolve(null)
    const sums = this.#complete?.sums
    if (sums !== undefined && sums !== this.#replica.stage.sums) this.#replica.giveTotals(sums)
  }

  async #sumUp({ owners, contributors }: Parts): Promise<number> {
    const { stage, index, run } = this.#replica
    const fence = { ...this.fence, version: this.version }
    // If this fails, the memory is not used again: chunks that were under way may still be written to it.
    const totals = this.#replica.takeTotals()
    await reduceSums({
      owners,
      contributors,
      own: this.#context.ownId,
      sums: stage.sums,
      totals,
      fetch: fetchGradients(this.#context, index, fence, gradientsMs(run, index)),
      owned: () => this.#range.resolve(totals),
    })
    return this.#finish(totals, async () => normOf(totals))
  }

  async #finish(sums: Float32Array, normOfSums: () => Promise<number>): Promise<number> {
    const norm = (await normOfSums()) / this.#replica.run.microbatches
    if (this.#hasEnded) throw passed()
    if (!Number.isFinite(norm)) {
      throw new ProtocolError(
        'NON_FINITE',
        `the gradient of stage ${this.#replica.index} in step ${this.fence.step} is not finite`,
      )
    }
    this.#complete = { norm, sums }
    return norm
  }
}

function passed(): ProtocolError {
  return new ProtocolError('STALE', 'another plan took its place')
}
