/** Runs the stage on a microbatch that has reached it. */
import { ProtocolError } from '../../protocols/errors.ts'
import type { MicrobatchHeader } from '../../protocols/microbatch.ts'
import type { AnyStage, BodyStage, EndsStage, Kept } from '../../stages/stage.ts'
import type { BatchSource } from '../run/batch-source.ts'
import type { Work } from './inbox.ts'
import type { TensorBuffers } from './tensor-buffers.ts'

/** Result of a piece of work. */
export interface Outcome {
  /** The tensor to send on, with its header. Absent where the microbatch's path ends. */
  readonly onward?: { readonly header: MicrobatchHeader; readonly tensor: Float32Array }
  /** Mean cross-entropy of the microbatch in nats per token. */
  readonly loss?: number
}

function moved(
  header: MicrobatchHeader,
  direction: 'forward' | 'backward',
  position: number,
): MicrobatchHeader {
  return { ...header, direction, position }
}

/** A microbatch between its forward and its backward. */
interface InFlight {
  readonly attempt: number
  readonly input: Float32Array
  /** What the forward left for the backward, as the manifest's `keep` says. Empty by default. */
  kept: Kept
}

/** Runs a stage on one piece of work after another, and counts in the work's step what was added to the sums. */
export class MicrobatchExecutor {
  readonly #stage: AnyStage
  readonly #data: BatchSource
  readonly #buffers: TensorBuffers
  /** Body stages only: microbatches between forward and backward, by index. */
  readonly #inFlight = new Map<number, InFlight>()

  /** @param buffers memory of the tensors that arrive, which is given back when a tensor is used up */
  constructor(stage: AnyStage, data: BatchSource, buffers: TensorBuffers) {
    this.#stage = stage
    this.#data = data
    this.#buffers = buffers
  }

  /** @throws ProtocolError REFUSED for a gradient whose microbatch never came forward; and what the stage throws */
  execute(work: Work): Promise<Outcome> {
    const stage = this.#stage
    if (stage.kind === 'ends') return this.#executeEnds(stage, work)
    return work.header.direction === 'forward'
      ? this.#forward(stage, work)
      : this.#backward(stage, work)
  }

  /** Forgets all microbatches of the step in progress. */
  clear(): void {
    this.#inFlight.clear()
  }

  async #forward(stage: BodyStage, { header, tensor }: Work): Promise<Outcome> {
    const { index, attempt, position, purpose } = header
    const input = tensor!
    const onward = (output: Float32Array) => ({
      onward: { header: moved(header, 'forward', position + 1), tensor: output },
    })
    if (purpose === 'evaluate') {
      const output = await stage.forward(input)
      this.#buffers.give(input)
      return onward(output)
    }
    // Entered before the forward runs: a new step clears the map, this entry included.
    const own: InFlight = { attempt, input, kept: {} }
    this.#inFlight.set(index, own)
    const { output, kept } = await stage.forwardKeeping(input)
    own.kept = kept
    return onward(output)
  }

  async #backward(stage: BodyStage, { step, header, tensor }: Work): Promise<Outcome> {
    const { index, attempt, position } = header
    const own = this.#inFlight.get(index)
    if (own?.attempt !== attempt) {
      throw new ProtocolError('REFUSED', `microbatch ${index} comes back but never came forward`)
    }
    this.#inFlight.delete(index)
    const count = !step.isCounted(index)
    const gradient = await stage.backward(own.input, tensor!, own.kept, count)
    step.count(index)
    this.#buffers.give(own.input)
    this.#buffers.give(tensor!)
    return { onward: { header: moved(header, 'backward', position - 1), tensor: gradient } }
  }

  /** The ends embed a microbatch, compute its loss when it has passed all body stages, and take its gradient in. */
  async #executeEnds(stage: EndsStage, { step, header, tensor }: Work): Promise<Outcome> {
    const { index, route, purpose, direction } = header
    const { tokens, targets } = await (purpose === 'train'
      ? this.#data.training(header.step, index)
      : this.#data.heldOut(index))
    // Another step may have been opened while the tokens were read. Its sums must not get this gradient.
    if (!step.isCurrent) return {}
    if (tensor === null) {
      const embedded = await stage.embed(tokens)
      return { onward: { header: moved(header, 'forward', 0), tensor: embedded } }
    }
    if (direction === 'backward') {
      if (!step.isCounted(index)) await stage.embedBackward(tokens, tensor)
      step.count(index)
      this.#buffers.give(tensor)
      return {}
    }
    if (purpose === 'evaluate') {
      const loss = await stage.loss(tensor, targets)
      this.#buffers.give(tensor)
      return { loss }
    }
    const count = !step.isTurned(index)
    const { loss, inputGradient } = await stage.lossAndGradient(tensor, targets, count)
    step.turn(index)
    this.#buffers.give(tensor)
    return {
      loss,
      onward: { header: moved(header, 'backward', route.length - 1), tensor: inputGradient },
    }
  }
}
