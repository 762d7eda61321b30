/** A stage that this peer holds: its weights, its part in the step, and what it gives to others' recovery. */
import { decodeTensor, wireBuffer, wireBytes } from '../protocols/codec.ts'
import { ProtocolError } from '../protocols/errors.ts'
import type { MicrobatchHeader } from '../protocols/microbatch.ts'
import type { CommitQuestion, Route } from '../protocols/step.ts'
import { bytesOf, sha256 } from '../protocols/weights.ts'
import type { AnyStage, Update } from '../stages/stage.ts'
import { allFinite } from './finite.ts'
import { type Fence, Pipeline, type PipelineOptions } from './pipeline.ts'
import type { Run } from './run.ts'
import { TensorBuffers } from './tensor-buffers.ts'

export interface HoldingOptions
  extends Pick<PipelineOptions, 'network' | 'clock' | 'stage' | 'stageIndex' | 'data'> {
  readonly run: Run
  /** Multiplies the learning rate; above 1 for a stage that was rebuilt. */
  readonly learningRateScale: number
}

export class Holding {
  readonly index: number
  readonly stage: AnyStage
  readonly #options: HoldingOptions
  readonly #pipeline: Pipeline
  readonly #buffers: TensorBuffers
  /** Norm of the last committed mean gradient before clipping. */
  #norm: number | null = null
  /** The gradient that waits for its commit. */
  #prepared: { readonly step: number; readonly norm: number; readonly busySeconds: number } | null =
    null

  constructor(options: HoldingOptions) {
    const { run } = options
    this.index = options.stageIndex
    this.stage = options.stage
    this.#options = options
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

  /** Drops the step in hand and starts the fence's with empty sums. */
  async open(fence: Fence): Promise<void> {
    this.#prepared = null
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

  /** Forward and backward of every microbatch, until this stage's sum holds each once; then its norm. */
  async prepare(fence: Fence, routes: readonly Route[]) {
    const gradients = await this.#pipeline.prepare(fence, routes)
    const norm = (await this.stage.gradientNorm()) / routes.length
    if (!Number.isFinite(norm)) {
      throw new ProtocolError(
        'NON_FINITE',
        `the gradient of stage ${this.index} in step ${fence.step} is not finite`,
      )
    }
    this.#prepared = { step: fence.step, norm, busySeconds: gradients.busySeconds }
    return { ...gradients, norm }
  }

  /** Applies the prepared gradient, clipped to the run's norm, and opens the next step. */
  async commit({
    run,
    epoch,
    step,
    learningRate,
  }: CommitQuestion): Promise<{ update: Update; busySeconds: number }> {
    if (this.#prepared?.step !== step) {
      throw new ProtocolError('STALE', `step ${step} is not prepared here`)
    }
    const { clipNorm } = this.#options.run.optimizer
    const { norm, busySeconds } = this.#prepared
    const clip = Math.min(1, clipNorm / (norm + 1e-6))
    const update = {
      learningRate: learningRate * this.#options.learningRateScale,
      gradientScale: clip / this.#options.run.microbatches,
    }
    this.#prepared = null
    await this.stage.update(update)
    this.#norm = norm
    this.#pipeline.open({ run, epoch, step: step + 1 })
    return { update, busySeconds }
  }

  evaluate(fence: Fence, routes: readonly Route[]): Promise<number | null> {
    return this.#pipeline.evaluate(fence, routes)
  }

  /** A chunk of the weights for another peer's recovery. */
  donate(offset: number, length: number) {
    const { weights } = this.stage
    if (offset + length > weights.length) {
      throw new ProtocolError('WRONG_SHAPE', `stage ${this.index} has ${weights.length} weights`)
    }
    // A copy, since the next update writes to the weights while the chunk may still be on its way.
    const body = bytesOf(weights.slice(offset, offset + length))
    return { answer: { sha256: sha256(body), total: weights.length, norm: this.#norm }, body }
  }

  async close(): Promise<void> {
    this.#pipeline.close()
    await this.stage.close()
  }
}

function elementsOf({ shape }: MicrobatchHeader): number {
  return shape.reduce((product, size) => product * size, 1)
}
