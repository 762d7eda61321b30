/**
 * Synchronizes a new replica of a stage while its holders keep training. The replica fetches the state after one step.
 * Meanwhile it gets the total gradient of each further step, as a holder does. Once the state is there, it applies these
 * steps in order, and then has the same bits as the holders.
 */
import { ProtocolError } from '../../protocols/errors.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { HoldQuestion, ReduceQuestion } from '../../protocols/step.ts'
import type { StatePart } from '../../protocols/weights.ts'
import { LEARNER_BYTES_MAX, LEARNER_STEPS_MIN } from '../base/limits.ts'
import type { RestoredState } from '../run/stage-state.ts'
import type { Decision } from '../run/update.ts'
import { ActiveStage, type ActiveStageOptions } from './active-stage.ts'
import { gatherStage } from './gather.ts'
import { INITIAL_FACTS, type StageReplica } from './stage-replica.ts'
import type { Fence } from './step-progress.ts'
import { StepTotal } from './step-total.ts'

export interface ReplicaSyncOptions extends ActiveStageOptions {
  readonly runId: string
}

/** A step that was committed and is not applied here yet. */
interface Missed {
  readonly total: StepTotal
  readonly decision: Decision
}

export class ReplicaSync {
  readonly replica: StageReplica
  readonly #options: ReplicaSyncOptions
  readonly #missed: Missed[] = []
  #fence: Fence | null = null
  /** Total gradient of the open step; null until it is asked for. */
  #total: StepTotal | null = null
  #hasState = false
  /** The last step whose total did not come here. A state from before this step is of no use. */
  #without = 0
  #applied: Promise<void> = Promise.resolve()

  constructor(options: ReplicaSyncOptions) {
    this.replica = options.replica
    this.#options = options
  }

  get index(): number {
    return this.replica.index
  }

  /** From now on the replica gets the total of this step. */
  open(fence: Fence): void {
    if (this.#fence?.epoch === fence.epoch && this.#fence.step === fence.step) return
    this.#fence = fence
    this.#endTotal()
  }

  /** Takes the initial weights as the state: before the first step there is nothing to fetch. */
  begin(): void {
    this.replica.restored(INITIAL_FACTS)
    this.#hasState = true
  }

  /**
   * Fetches the state after `step` from members that have it, and applies the steps that were committed since.
   * @throws ProtocolError if no donor gives the state; STALE if the total of a later step did not come here meanwhile
   */
  async fetch(
    step: number,
    donors: readonly PeerId[],
    signal: AbortSignal,
  ): Promise<RestoredState> {
    const { network, runId } = this.#options
    const { stage, index, run } = this.replica
    const question: HoldQuestion = {
      run: runId,
      epoch: 0,
      step,
      stage: index,
      strategy: 'replica',
      donors: donors.map((peer) => ({ stage: index, peer, copy: null })),
    }
    const gathered = await gatherStage({ network, stage, question, run, signal })
    if (step < this.#without) {
      throw new ProtocolError('STALE', `the total of step ${this.#without} did not come here`)
    }
    this.replica.restored(gathered)
    this.#hasState = true
    // The fetched state may contain steps whose totals came here first.
    while ((this.#missed[0]?.total.fence.step ?? step + 1) <= step) {
      this.#missed.shift()?.total.end()
    }
    this.#applyMissed()
    await this.#applied
    return gathered
  }

  /** Gets the total of the open step, to which this member contributes nothing. @throws ProtocolError */
  async reduce({ version, owners, contributors, ...fence }: ReduceQuestion) {
    const { epoch, step } = this.#fence ?? {}
    if (fence.epoch !== epoch || fence.step !== step) {
      const asked = `epoch ${fence.epoch} step ${fence.step}`
      throw new ProtocolError('STALE', `${asked}; this peer is at epoch ${epoch} step ${step}`)
    }
    if (version < (this.#total?.version ?? 0)) {
      throw new ProtocolError('STALE', `version ${version} of the plan has passed`)
    }
    if (this.#total?.version !== version) {
      this.#endTotal()
      this.#total = new StepTotal(this.replica, this.#options, fence, version)
    }
    return { norm: await this.#total!.reduce({ owners, contributors }) }
  }

  /** True if the total of this step, as this version of the plan makes it, is here. */
  canCommit(fence: Fence, version: number): boolean {
    return this.#total?.isOf(fence, version) === true && this.#total.isComplete
  }

  /**
   * Applies the step, or keeps its total until the state is there. Call only if {@link canCommit} holds.
   * @throws ProtocolError TOO_LARGE if more totals wait than may be kept
   */
  commit(decision: Decision): void {
    this.#missed.push({ total: this.#total!, decision })
    this.#total = null
    const { sums } = this.replica.stage
    const bytesMax = Math.max(LEARNER_BYTES_MAX, LEARNER_STEPS_MIN * sums.byteLength)
    if (this.#missed.length * sums.byteLength > bytesMax) {
      const what = `${this.#missed.length} steps were made while the state of stage ${this.index} was fetched`
      throw new ProtocolError('TOO_LARGE', `${what}: more than can be kept`)
    }
    if (this.#hasState) this.#applyMissed()
  }

  /** The total of this step did not come here. Call only before the state is there. */
  missed(step: number): void {
    for (const { total } of this.#missed.splice(0)) total.end()
    this.#without = step
  }

  /** Makes the synchronized replica an active stage. @throws ProtocolError REFUSED without the state */
  async finish(): Promise<ActiveStage> {
    await this.#applied
    this.#expectState()
    return new ActiveStage(this.#options)
  }

  /** A chunk of the state after the last step that came here. @throws ProtocolError REFUSED without the state */
  async donate(part: StatePart, offset: number, length: number) {
    await this.#applied
    this.#expectState()
    return this.replica.donate(part, offset, length)
  }

  async close(): Promise<void> {
    this.#missed.length = 0
    await this.replica.close()
  }

  #expectState(): void {
    if (!this.#hasState) throw new ProtocolError('REFUSED', 'its state is not there yet')
  }

  #endTotal(): void {
    this.#total?.end()
    this.#total = null
  }

  #applyMissed(): void {
    this.#applied = this.#applied.then(async () => {
      for (let next = this.#missed.shift(); next !== undefined; next = this.#missed.shift()) {
        await this.replica.apply(next.total.complete, next.decision)
        next.total.end()
      }
    })
    // A failure is thrown where `#applied` is awaited. If nothing awaits it, the replica was given up.
    this.#applied.catch(() => {})
  }
}
