/** A stage that this peer holds: its weights, its part in the step, and what it gives to others' recovery. */
import { decodeTensor, wireBuffer, wireBytes } from '../protocols/codec.ts'
import { ProtocolError } from '../protocols/errors.ts'
import type { MicrobatchHeader } from '../protocols/microbatch.ts'
import { ask } from '../protocols/procedure.ts'
import {
  type EvaluateQuestion,
  type GradientsQuestion,
  gradients,
  type PrepareAnswer,
  type PrepareQuestion,
  type ReduceQuestion,
} from '../protocols/step.ts'
import {
  bytesOf,
  checkHash,
  intoChunk,
  type StatePart,
  sha256,
  type WeightsAnswer,
} from '../protocols/weights.ts'
import type { AnyStage, OptimizerState, Update } from '../stages/stage.ts'
import { allFinite } from './finite.ts'
import { TIMEOUTS } from './limits.ts'
import { type Fence, Pipeline, type PipelineOptions } from './pipeline.ts'
import { normOf, reduceSums } from './reduce.ts'
import type { Run } from './run.ts'

export interface HoldingOptions
  extends Omit<PipelineOptions, 'shape' | 'wire' | 'inFlight' | 'microbatches'> {
  readonly run: Run
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
  /** Of several replicas: it lies in a buffer of its own, not in the stage's sums. */
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
  /** What adding up gives; null until it is asked for. A second question gets the same. */
  reduced: Promise<{ norm: number }> | null
}

export class Holding {
  readonly index: number
  readonly stage: AnyStage
  readonly #options: HoldingOptions
  readonly #pipeline: Pipeline
  #norm: number | null
  #updates: number
  #busySeconds = 0
  #prepared: Prepared | null = null
  #total: Total | null = null
  /** Totals of replicas; a stage with one holder needs none. */
  #totals: Float32Array | null = null
  /** A copy of the moments after the last step, made for whoever asks for them. */
  #moments: Promise<OptimizerState> | null = null

  constructor(options: HoldingOptions) {
    const { run } = options
    this.index = options.stageIndex
    this.stage = options.stage
    this.#options = options
    this.#norm = options.norm
    this.#updates = options.updates
    this.#pipeline = new Pipeline({
      ...options,
      shape: [run.microbatch.batch, run.microbatch.context, run.model.hiddenSize],
      wire: run.wire,
      inFlight: Math.min(run.microbatches, run.stages + 2),
      microbatches: Math.max(run.microbatches, run.evaluation.microbatches),
    })
  }

  /** Microbatches that it could work on now. */
  get ready(): number {
    return this.#pipeline.ready
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
    return wireBuffer(header.dtype, elementsOf(header))
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
    // One that comes late, or again, must not undo what the plan of today has made.
    this.#pipeline.checkVersion(question)
    this.#forget()
    const answer = await this.#pipeline.prepare(question)
    this.#prepared = {
      fence: this.#pipeline.fence!,
      version: question.version,
      owned: Promise.withResolvers(),
      reduced: null,
    }
    this.#busySeconds = answer.busySeconds
    return answer
  }

  /** Brings the sums of all replicas together; gives the norm of the mean gradient. */
  async reduce({ version, holders, ...fence }: ReduceQuestion): Promise<{ norm: number }> {
    const prepared = this.#current(fence, version)
    prepared.reduced ??= this.#reduce(fence, version, holders, prepared.owned)
    return prepared.reduced
  }

  async #reduce(
    fence: Fence,
    version: number,
    holders: ReduceQuestion['holders'],
    owned: Prepared['owned'],
  ): Promise<{ norm: number }> {
    const { run, ownId: own } = this.#options
    const shared = holders.length > 1
    const total: Total = { fence, shared, norm: null }
    this.#total = total
    let norm: number
    if (!shared) norm = await this.stage.gradientNorm()
    else {
      const { sums } = this.stage
      const totals = this.#totals ?? new Float32Array(sums.length)
      // Not used again if this fails: what was under way for it may still come in.
      this.#totals = null
      await reduceSums({
        holders,
        own,
        sums,
        totals,
        fetch: (from, kind, offset, into) =>
          this.#fetch({ ...fence, version }, from, kind, offset, into),
        owned: () => owned.resolve(totals),
      })
      norm = normOf(totals)
      this.#totals = totals
    }
    norm /= run.microbatches
    if (!Number.isFinite(norm)) {
      throw new ProtocolError(
        'NON_FINITE',
        `the gradient of stage ${this.index} in step ${fence.step} is not finite`,
      )
    }
    if (this.#total !== total) throw new ProtocolError('STALE', 'another plan took its place')
    total.norm = norm
    return { norm }
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

  /** Holds the whole gradient of this step: it can apply it. */
  canCommit(step: number): boolean {
    return this.#total?.norm != null && this.#total.fence.step === step
  }

  /** Applies the gradient, clipped to the run's norm. */
  async commit(
    step: number,
    learningRate: number,
  ): Promise<{ update: Update; busySeconds: number }> {
    const norm = this.#total?.norm
    if (norm == null || !this.canCommit(step)) {
      throw new ProtocolError('STALE', `step ${step} is not prepared here`)
    }
    const { clipNorm } = this.#options.run.optimizer
    const clip = Math.min(1, clipNorm / (norm + 1e-6))
    const update = {
      learningRate: learningRate * this.#options.learningRateScale,
      gradientScale: clip / this.#options.run.microbatches,
    }
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

  /** A chunk of the stage's state for another peer's recovery, or for one more replica. */
  async donate(
    part: StatePart,
    offset: number,
    length: number,
  ): Promise<{ answer: WeightsAnswer; body: Uint8Array }> {
    const { weights } = this.stage
    if (offset + length > weights.length) {
      throw new ProtocolError('WRONG_SHAPE', `stage ${this.index} has ${weights.length} weights`)
    }
    let source: Float32Array = weights
    if (part !== 'weights') {
      this.#moments ??= this.stage.optimizerState()
      source = (await this.#moments)[part]
    }
    // A copy, since the next update writes to the weights while the chunk may still be on its way.
    const body = bytesOf(source.slice(offset, offset + length))
    const answer = {
      sha256: sha256(body),
      total: weights.length,
      norm: this.#norm,
      updates: this.#updates,
      learningRateScale: this.#options.learningRateScale,
    }
    return { answer, body }
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
    this.#total = null
  }

  async #fetch(
    fence: Fence & { version: number },
    from: number,
    kind: 'sum' | 'total',
    offset: number,
    into: Float32Array,
  ): Promise<void> {
    const { network, peerOf } = this.#options
    const peer = peerOf(from)
    if (peer === undefined) throw new ProtocolError('NOT_MEMBER', `member ${from} is gone`)
    const what = `${kind} of stage ${this.index} from ${peer}, elements from ${offset}`
    const question = { ...fence, stage: this.index, kind, offset, length: into.length }
    const accept = intoChunk(what, into)
    const options = { timeoutMs: TIMEOUTS.gradientsMs, accept }
    const { sha256 } = await ask(network, peer, gradients, question, options)
    checkHash(what, into, sha256)
    if (!allFinite(into)) throw new ProtocolError('NON_FINITE', `${what}: not finite`)
  }
}

function elementsOf({ shape }: MicrobatchHeader): number {
  return shape.reduce((product, size) => product * size, 1)
}
