/**
 * The state of a stage that others work at, on its way to be that of one more holder, or of an understudy. It fetches the state as it was after one step, while the others
 * go on; of every step since it gets the total of the gradients, as a replica does, and applies them in order once the
 * state is there. AdamW is a function of state and gradient: it ends with the bits of those that it learns from.
 */
import { ProtocolError } from '../../protocols/errors.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { HoldQuestion, ReduceQuestion } from '../../protocols/step.ts'
import type { StatePart, WeightsAnswer } from '../../protocols/weights.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { LEARNER_BYTES_MAX } from '../base/limits.ts'
import type { RestoredState } from '../run/stage-state.ts'
import { type Decision, updateOf } from '../run/update.ts'
import { ActiveStage, type ActiveStageOptions, donation } from './active-stage.ts'
import { fetchGradients } from './fetch-gradients.ts'
import { gatherStage } from './gather.ts'
import type { Fence } from './pipeline.ts'
import { normOf, reduceSums } from './reduce.ts'

export type ReplicaSyncOptions = Omit<ActiveStageOptions, 'learningRateScale' | 'norm' | 'updates'>

/** The gradient of a step, as all replicas have it. */
interface Total {
  readonly fence: Fence
  /** Of the plan that it was made by. */
  readonly version: number
  /** Of the mean gradient, before clipping. */
  readonly norm: number
  readonly totals: Float32Array
}

/** A step that was committed and is not applied here yet. */
interface Missed extends Total {
  readonly decision: Decision
}

export class ReplicaSync {
  readonly index: number
  readonly stage: AnyStage
  /** The roster names it: it gets the steps that are made from now on. */
  assigned = false
  readonly #options: ReplicaSyncOptions
  readonly #missed: Missed[] = []
  #fence: Fence | null = null
  #reducing: { readonly version: number; readonly answer: Promise<{ norm: number }> } | null = null
  #total: Total | null = null
  /** What was fetched; null before. */
  #state: Pick<RestoredState, 'learningRateScale' | 'norm' | 'updates'> | null = null
  #applying: Promise<void> = Promise.resolve()

  constructor(options: ReplicaSyncOptions) {
    this.index = options.stageIndex
    this.stage = options.stage
    this.#options = options
  }

  /** From now on it gets the total of this step. */
  open(fence: Fence): void {
    if (this.#fence?.epoch === fence.epoch && this.#fence.step === fence.step) return
    this.#fence = fence
    this.#reducing = null
  }

  /** Before the first step there is nothing to fetch: the state is the stage's as it was built. */
  begin(): void {
    this.#state = { learningRateScale: 1, norm: null, updates: 0 }
  }

  /** Fetches the state after `step` from those that hold it, and catches up with what has come since. */
  async learn(
    step: number,
    donors: readonly PeerId[],
    signal: AbortSignal,
  ): Promise<RestoredState> {
    const { network, run, stage } = this.#options
    const question: HoldQuestion = {
      run: this.#options.runId,
      epoch: 0,
      step,
      stage: this.index,
      strategy: 'replica',
      donors: donors.map((peer) => ({ stage: this.index, peer, copy: null })),
    }
    const gathered = await gatherStage({ network, stage, question, run, signal })
    this.#state = gathered
    // The state may be of a later step than the first that came here.
    while ((this.#missed[0]?.fence.step ?? step + 1) <= step) this.#missed.shift()
    this.#catchUp()
    await this.#applying
    return gathered
  }

  /** Gets the total of a step. It has no part in it. */
  async reduce(question: ReduceQuestion): Promise<{ norm: number }> {
    const { version } = question
    const { epoch, step } = this.#fence ?? {}
    if (question.epoch !== epoch || question.step !== step) {
      const asked = `epoch ${question.epoch} step ${question.step}`
      throw new ProtocolError('STALE', `${asked}; this peer is at epoch ${epoch} step ${step}`)
    }
    if (version < (this.#reducing?.version ?? 0)) {
      throw new ProtocolError('STALE', `version ${version} of the plan has passed`)
    }
    // Asked again, it is not done again.
    if (this.#reducing?.version !== version) {
      this.#reducing = { version, answer: this.#reduce(question) }
    }
    return this.#reducing.answer
  }

  async #reduce(question: ReduceQuestion): Promise<{ norm: number }> {
    const { version, holders, ...fence } = question
    const { ownId: own, run } = this.#options
    const { sums } = this.stage
    const totals = new Float32Array(sums.length)
    const fetch = fetchGradients(this.#options, this.index, { ...fence, version })
    await reduceSums({ holders, own, sums, totals, fetch, owned: () => {} })
    const { epoch, step } = this.#fence!
    const passed = fence.epoch !== epoch || fence.step !== step
    if (passed || this.#reducing?.version !== version) {
      throw new ProtocolError('STALE', 'another plan took its place')
    }
    const norm = normOf(totals) / run.microbatches
    this.#total = { fence, version, norm, totals }
    return { norm }
  }

  /** Has the gradient of this step, as that plan has made it. */
  canCommit({ epoch, step }: Fence, version: number): boolean {
    const had = this.#total
    return had?.fence.step === step && had.fence.epoch === epoch && had.version === version
  }

  /** Applies the step, or keeps its gradient until the state is there. */
  commit(decision: Decision): void {
    const total = this.#total!
    this.#total = null
    this.#missed.push({ ...total, decision })
    const bytes = this.#missed.length * total.totals.byteLength
    if (bytes > LEARNER_BYTES_MAX) {
      const what = `${this.#missed.length} steps were made while the state of stage ${this.index} was fetched`
      throw new ProtocolError('TOO_LARGE', `${what}: more than can be kept`)
    }
    if (this.#state !== null) this.#catchUp()
  }

  /** From now on it holds the stage. */
  async finish(): Promise<ActiveStage> {
    await this.#applying
    if (this.#state === null) throw new ProtocolError('REFUSED', 'its state is not there yet')
    const { learningRateScale, norm, updates } = this.#state
    return new ActiveStage({ ...this.#options, learningRateScale, norm, updates })
  }

  /** A chunk of the state as it is after the last step that came here. */
  async donate(
    part: StatePart,
    offset: number,
    length: number,
  ): Promise<{ answer: WeightsAnswer; body: Uint8Array }> {
    await this.#applying
    const { weights, moments } = this.stage
    if (this.#state === null) throw new ProtocolError('REFUSED', 'its state is not there yet')
    const source = part === 'weights' ? weights : moments[part]
    return donation(this.index, source, this.#state, offset, length)
  }

  async close(): Promise<void> {
    this.#missed.length = 0
    await this.stage.close()
  }

  #catchUp(): void {
    this.#applying = this.#applying.then(async () => {
      for (let next = this.#missed.shift(); next !== undefined; next = this.#missed.shift()) {
        const { norm, totals, decision } = next
        const state = this.#state!
        this.stage.sums.set(totals)
        await this.stage.update(
          updateOf(this.#options.run, decision, norm, state.learningRateScale, state.updates),
        )
        this.#state = { ...state, norm, updates: state.updates + 1 }
      }
    })
  }
}
