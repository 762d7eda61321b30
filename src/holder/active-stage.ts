/** A stage that this peer holds: its weights, its part in the step, and what it gives to others' recovery. */
import { decodeTensor, wireBuffer, wireBytes } from '../../protocols/codec.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { MicrobatchHeader } from '../../protocols/microbatch.ts'
import type {
  EvaluateQuestion,
  GradientsQuestion,
  PrepareAnswer,
  PrepareQuestion,
  ReduceQuestion,
} from '../../protocols/step.ts'
import {
  bytesOf,
  type StateFacts,
  type StatePart,
  sha256,
  type WeightsAnswer,
} from '../../protocols/weights.ts'
import type { AnyStage, OptimizerState, Update } from '../../stages/stage.ts'
import { allFinite } from '../base/finite.ts'
import type { Run } from '../run/run.ts'
import { type Decision, updateOf } from '../run/update.ts'
import { fetchGradients } from './fetch-gradients.ts'
import { type Fence, Pipeline, type PipelineOptions } from './pipeline.ts'
import { normOf, reduceSums } from './reduce.ts'
import { TensorBuffers } from './tensor-buffers.ts'

export interface ActiveStageOptions
  extends Omit<PipelineOptions, 'buffers' | 'shape' | 'wire' | 'inFlight' | 'microbatches'> {
  readonly run: Run
  readonly runId: string
  /** Of this member. */
  readonly ownId: number
  /** Multiplies the learning rate; above 1 for a stage that was rebuilt. */
  readonly learningRateScale: number
  /** Of the last committed mean gradient before clipping; null for a stage that has made none. */
  readonly norm: number | null
  /** That its optimizer has made. */
  readonly updates: number
}

/** The sums of all replicas, as far as they are brought together. */
interface Total {
  readonly fence: Fence
  /** With others: it lies in a buffer of its own, not in the stage's sums. */
  readonly shared: boolean
  /** Of the mean gradient, before clipping; null until all is there. */
  norm: number | null
}

/** The plan whose microbatches are all counted here. */
interface Prepared {
  readonly fence: Fence
  readonly version: number
  /**
   * The range of the total that this replica adds up, null once the plan has passed. A replica that was told to add up
   * earlier than this one asks for it before this one knows of it, and waits.
   */
  readonly owned: PromiseWithResolvers<Float32Array | null>
}

/** A stage's weights after some step, and what is known of it beside them. */
export interface WeightsCopy extends Pick<WeightsAnswer, 'norm' | 'updates'> {
  readonly weights: Float32Array
}

/** A stage's state after some step. */
interface Frozen extends OptimizerState {
  readonly weights: Float32Array
  readonly norm: number | null
}

export class ActiveStage {
  readonly index: number
  readonly stage: AnyStage
  readonly #options: ActiveStageOptions
  readonly #pipeline: Pipeline
  readonly #buffers: TensorBuffers
  #norm: number | null
  #updates: number
  #busySeconds = 0
  #prepared: Prepared | null = null
  #reducing: { readonly version: number; readonly answer: Promise<{ norm: number }> } | null = null
  #total: Total | null = null
  /** Totals of replicas; a stage with one holder needs none. */
  #totals: Float32Array | null = null
  /** States after earlier steps, for those that learn the stage: they take longer than a step to fetch it. */
  readonly #frozen = new Map<number, Frozen>()
  /** A copy of the moments after the last step, made for whoever asks for them. */
  #moments: Promise<OptimizerState> | null = null

  constructor(options: ActiveStageOptions) {
    const { run } = options
    this.index = options.stageIndex
    this.stage = options.stage
    this.#options = options
    this.#norm = options.norm
    this.#updates = options.updates
    const { batch, context } = run.microbatch
    const inFlight = Math.min(run.microbatches, run.stages + 2)
    // An input each, and a gradient for the ones that come back.
    this.#buffers = new TensorBuffers(batch * context * run.model.hiddenSize, 2 * inFlight)
    this.#pipeline = new Pipeline({
      ...options,
      buffers: this.#buffers,
      shape: [batch, context, run.model.hiddenSize],
      wire: run.wire,
      inFlight,
      microbatches: Math.max(run.microbatches, run.evaluation.microbatches),
    })
  }

  /** Microbatches that it could work on now. */
  get queuedWork(): number {
    return this.#pipeline.queuedWork
  }

  /** Drops the step in hand and starts the fence's with empty sums; the same fence goes on as it is. */
  async open(fence: Fence): Promise<void> {
    const open = this.#pipeline.fence
    if (open?.epoch === fence.epoch && open.step === fence.step) return
    this.#forget()
    this.#pipeline.open(fence)
    await this.stage.zeroGradients()
  }

  /** Where the tensor of a microbatch goes. @throws ProtocolError if it does not belong here, or has another length */
  accept(header: MicrobatchHeader, length: number): Uint8Array {
    this.#pipeline.check(header)
    const expected = wireBytes(header.dtype, elementsOf(header))
    if (length !== expected) {
      throw new ProtocolError(
        'WRONG_SHAPE',
        `microbatch ${header.index}: ${length} bytes, ${header.dtype} [${header.shape}] takes ${expected}`,
      )
    }
    return header.dtype === 'float32'
      ? this.#buffers.take()
      : wireBuffer(header.dtype, elementsOf(header))
  }

  /** Takes in a microbatch whose body was accepted. @throws ProtocolError */
  receive(header: MicrobatchHeader, body: Uint8Array | undefined): void {
    this.#pipeline.check(header)
    if (body?.byteLength !== wireBytes(header.dtype, elementsOf(header))) {
      throw new ProtocolError('WRONG_SHAPE', `microbatch ${header.index} came without its tensor`)
    }
    const tensor = decodeTensor(header.dtype, body, elementsOf(header))
    if (!allFinite(tensor)) {
      throw new ProtocolError(
        'NON_FINITE',
        `microbatch ${header.index} ${header.direction} holds values that are not finite`,
      )
    }
    this.#pipeline.receive(header, tensor)
  }

  /** Forward and backward of every microbatch that is expected here, until this holder's sum holds each once. */
  async prepare(question: PrepareQuestion): Promise<PrepareAnswer> {
    // An old question that comes late must not undo what has been prepared since.
    this.#pipeline.expectNewer(question)
    this.#forget()
    const answer = await this.#pipeline.prepare(question)
    const fence = this.#pipeline.fence!
    const { version, alone } = question
    this.#prepared = { fence, version, owned: Promise.withResolvers() }
    this.#busySeconds = answer.busySeconds
    const norm = alone ? await this.#complete(fence, false, () => this.stage.gradientNorm()) : null
    return { ...answer, norm }
  }

  /** Brings the sums of all replicas together; gives the norm of the mean gradient. */
  async reduce(question: ReduceQuestion): Promise<{ norm: number }> {
    const { version, holders: _, ...fence } = question
    this.#current(fence, version)
    // Asked again, it is not done again.
    if (this.#reducing?.version !== version) {
      const sum = () => this.#sumUp(question)
      const answer = this.#complete(fence, true, sum).then((norm) => ({ norm }))
      this.#reducing = { version, answer }
    }
    return this.#reducing.answer
  }

  /** Adds up the sums of all replicas; gives the norm of the total. */
  async #sumUp({ version, holders, ...fence }: ReduceQuestion): Promise<number> {
    const { owned } = this.#current(fence, version)
    const { sums } = this.stage
    const totals = this.#totals ?? new Float32Array(sums.length)
    // Not used again if this fails: what was under way for it may still come in.
    this.#totals = null
    await reduceSums({
      holders,
      own: this.#options.ownId,
      sums,
      totals,
      fetch: fetchGradients(this.#options, this.index, { ...fence, version }),
      owned: () => owned.resolve(totals),
    })
    this.#totals = totals
    return normOf(totals)
  }

  /** From when the total is there it can be committed. Gives the norm of the mean gradient. */
  async #complete(
    fence: Fence,
    shared: boolean,
    normOfSum: () => Promise<number>,
  ): Promise<number> {
    const total: Total = { fence, shared, norm: null }
    this.#total = total
    const norm = (await normOfSum()) / this.#options.run.microbatches
    if (!Number.isFinite(norm)) {
      throw new ProtocolError(
        'NON_FINITE',
        `the gradient of stage ${this.index} in step ${fence.step} is not finite`,
      )
    }
    if (this.#total !== total) throw new ProtocolError('STALE', 'another plan took its place')
    total.norm = norm
    return norm
  }

  /** A piece of this holder's sum, or of the total that it adds up. */
  async gradients({ version, kind, offset, length, ...fence }: GradientsQuestion) {
    const { owned } = this.#current(fence, version)
    let source = this.stage.sums as Float32Array
    if (kind === 'total') {
      const totals = await owned.promise
      if (totals === null) throw new ProtocolError('STALE', 'another plan took its place')
      source = totals
    }
    if (offset + length > source.length) {
      throw new ProtocolError('WRONG_SHAPE', `stage ${this.index} has ${source.length} elements`)
    }
    const body = bytesOf(source.slice(offset, offset + length))
    return { answer: { sha256: sha256(body) }, body }
  }

  /** What belongs to the state beside weights and moments. */
  get facts(): StateFacts {
    const { learningRateScale } = this.#options
    return { norm: this.#norm, updates: this.#updates, learningRateScale }
  }

  /** Holds the whole gradient of this step: it can apply it. */
  canCommit(step: number): boolean {
    return this.#total?.norm != null && this.#total.fence.step === step
  }

  /** Applies the gradient, clipped as the run says. */
  async commit(step: number, decision: Decision): Promise<{ update: Update; busySeconds: number }> {
    const norm = this.#total?.norm
    if (norm == null || !this.canCommit(step)) {
      throw new ProtocolError('STALE', `step ${step} is not prepared here`)
    }
    const { run, learningRateScale } = this.#options
    const update = updateOf(run, decision, norm, learningRateScale, this.#updates)
    if (this.#total!.shared) this.stage.sums.set(this.#totals!)
    this.#forget()
    this.#moments = null
    await this.stage.update(update)
    this.#norm = norm
    this.#updates++
    return { update, busySeconds: this.#busySeconds }
  }

  evaluate(question: EvaluateQuestion): Promise<{ index: number; loss: number }[]> {
    return this.#pipeline.evaluate(question)
  }

  /** Keeps a copy of the state as it is after `step`, until `thaw`. */
  async freeze(step: number): Promise<void> {
    if (this.#frozen.has(step)) return
    const weights = new Float32Array(this.stage.weights)
    const optimizer = await this.stage.optimizerState()
    this.#frozen.set(step, { weights, ...optimizer, norm: this.#norm })
  }

  /** Nobody learns this stage any more. */
  thaw(): void {
    this.#frozen.clear()
  }

  /** The state after that step is kept, though it has been updated since. */
  hasFrozen(step: number): boolean {
    return this.#frozen.has(step)
  }

  /** What the next update will not touch. To be called between two. */
  copy(): WeightsCopy {
    const weights = new Float32Array(this.stage.weights)
    return { weights, norm: this.#norm, updates: this.#updates }
  }

  /** A chunk of the stage's state for another peer's recovery, or for one more replica. */
  async donate(
    step: number,
    part: StatePart,
    offset: number,
    length: number,
  ): Promise<{ answer: WeightsAnswer; body: Uint8Array }> {
    const frozen = this.#frozen.get(step)
    const { norm, updates } = frozen ?? this.facts
    return this.chunk(frozen?.[part] ?? (await this.#live(part)), { norm, updates }, offset, length)
  }

  /** @param source a flat buffer of this stage, and what else the stage had then */
  chunk(
    source: Float32Array,
    state: Pick<WeightsAnswer, 'norm' | 'updates'>,
    offset: number,
    length: number,
  ): { answer: WeightsAnswer; body: Uint8Array } {
    return donation(this.index, source, { ...this.facts, ...state }, offset, length)
  }

  async #live(part: StatePart): Promise<Float32Array> {
    if (part === 'weights') return this.stage.weights
    this.#moments ??= this.stage.optimizerState()
    return (await this.#moments)[part]
  }

  async close(): Promise<void> {
    this.#forget()
    this.#pipeline.close()
    await this.stage.close()
  }

  #current(fence: Fence, version: number): Prepared {
    this.#pipeline.current(fence)
    if (this.#prepared?.version === version) return this.#prepared
    throw new ProtocolError('STALE', `version ${version} of the plan is not prepared here`)
  }

  /** What was prepared and added up belongs to a plan that has passed. */
  #forget(): void {
    this.#prepared?.owned.resolve(null)
    this.#prepared = null
    this.#reducing = null
    this.#total = null
  }
}

/** A chunk of a flat buffer of a stage, with what is to be said of it. */
export function donation(
  stage: number,
  source: Float32Array,
  facts: StateFacts,
  offset: number,
  length: number,
): { answer: WeightsAnswer; body: Uint8Array } {
  if (offset + length > source.length) {
    throw new ProtocolError('WRONG_SHAPE', `stage ${stage} has ${source.length} weights`)
  }
  // A copy, since the next update writes to the weights while the chunk may still be on its way.
  const body = bytesOf(source.slice(offset, offset + length))
  const { norm, updates, learningRateScale } = facts
  const answer = { sha256: sha256(body), total: source.length, norm, updates, learningRateScale }
  return { answer, body }
}

function elementsOf({ shape }: MicrobatchHeader): number {
  return shape.reduce((product, size) => product * size, 1)
}
