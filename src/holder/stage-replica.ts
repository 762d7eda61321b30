/**
 * A stage's state: weights, optimizer moments, and the facts that belong to them. Holders, new replicas and
 * understudies of a stage each have one. Committed steps change it, in the same way everywhere: the optimizer is a
 * function of state and gradient, so all replicas of a stage have the same bits.
 */
import { ProtocolError } from '../../protocols/errors.ts'
import {
  bytesOf,
  type StateFacts,
  type StatePart,
  sha256,
  type WeightsAnswer,
} from '../../protocols/weights.ts'
import type { AnyStage, Update } from '../../stages/stage.ts'
import type { Run } from '../run/run.ts'
import type { HeldStage } from '../run/stage-state.ts'
import { type Decision, updateOf } from '../run/update.ts'

/** Facts of a stage with its initial weights. */
export const INITIAL_FACTS: StateFacts = { norm: null, updates: 0, learningRateScale: 1 }

/** The gradient of a step, summed over all holders of a stage. */
export interface TotalGradient {
  /** L2 norm of the mean gradient, before clipping. */
  readonly norm: number
  /** The stage's own gradient sums, or memory of the replica that holds the total. */
  readonly sums: Float32Array
}

/** Copy of a stage's weights after one step. */
export interface WeightsCopy {
  readonly weights: Float32Array
  readonly facts: StateFacts
}

/** Copy of a stage's whole state after one step. */
export interface StateCopy extends WeightsCopy {
  readonly firstMoment: Float32Array
  readonly secondMoment: Float32Array
}

/** A chunk of a flat buffer: what describes it, and its bytes. */
export interface Chunk {
  readonly answer: WeightsAnswer
  readonly body: Uint8Array
}

export interface StageReplicaOptions {
  readonly run: Run
  readonly index: number
  readonly stage: AnyStage
  /** Facts of the state that the stage has now. */
  readonly facts?: StateFacts
}

export class StageReplica implements HeldStage {
  readonly run: Run
  readonly index: number
  readonly stage: AnyStage
  #facts: StateFacts
  /** Resolves when no update is in progress. */
  #updated: Promise<unknown> = Promise.resolve()
  /** Memory for the total of a step; null while a total uses it. Made when a total first needs it. */
  #spareTotals: Float32Array | null = null

  constructor({ run, index, stage, facts = INITIAL_FACTS }: StageReplicaOptions) {
    this.run = run
    this.index = index
    this.stage = stage
    this.#facts = facts
  }

  get facts(): StateFacts {
    return this.#facts
  }

  /** Call when another state was loaded into the stage. */
  restored({ norm, updates, learningRateScale }: StateFacts): void {
    this.#facts = { norm, updates, learningRateScale }
  }

  /** Applies a committed step: the optimizer's update with the step's total gradient, clipped as the run says. */
  async apply({ norm, sums }: TotalGradient, decision: Decision): Promise<Update> {
    const { updates, learningRateScale } = this.#facts
    const update = updateOf(this.run, decision, norm, learningRateScale, updates)
    if (sums !== this.stage.sums) this.stage.sums.set(sums)
    const updated = this.stage.update(update)
    this.#updated = updated.catch(() => {})
    await updated
    // A skipped step says nothing of how much the stage learns.
    const known = norm > 0 ? norm : this.#facts.norm
    this.#facts = { norm: known, updates: updates + 1, learningRateScale }
    return update
  }

  /** Memory as long as the gradient sums. Its content is undefined. */
  takeTotals(): Float32Array {
    const totals = this.#spareTotals ?? new Float32Array(this.stage.sums.length)
    this.#spareTotals = null
    return totals
  }

  /** Takes back memory that nothing reads or writes any more. */
  giveTotals(totals: Float32Array): void {
    this.#spareTotals = totals
  }

  /** Must be called between two updates. */
  copyWeights(): WeightsCopy {
    return { weights: new Float32Array(this.stage.weights), facts: this.#facts }
  }

  /** Must be called between two updates, and none may begin before it resolves. */
  async copyState(): Promise<StateCopy> {
    const { weights, facts } = this.copyWeights()
    const { firstMoment, secondMoment } = await this.stage.optimizerState()
    return { weights, firstMoment, secondMoment, facts }
  }

  /** A chunk of the present state. @throws ProtocolError WRONG_SHAPE */
  async donate(part: StatePart, offset: number, length: number): Promise<Chunk> {
    await this.#updated
    const { weights, moments } = this.stage
    const source = part === 'weights' ? weights : moments[part]
    return this.chunk(source, this.#facts, offset, length)
  }

  /**
   * A chunk of a flat buffer of this stage.
   * @param facts what belongs to the state that the buffer is part of
   * @throws ProtocolError WRONG_SHAPE if the buffer is shorter
   */
  chunk(source: Float32Array, facts: StateFacts, offset: number, length: number): Chunk {
    if (offset + length > source.length) {
      throw new ProtocolError('WRONG_SHAPE', `stage ${this.index} has ${source.length} weights`)
    }
    // Copied, because the next update may write to the buffer while the chunk is being sent.
    const body = bytesOf(source.slice(offset, offset + length))
    return { answer: { sha256: sha256(body), total: source.length, ...facts }, body }
  }

  async close(): Promise<void> {
    await this.stage.close()
  }
}
