/** What a stage does with a microbatch that has reached it: one row a kind of stage and direction. */
import { ProtocolError } from '../protocols/errors.ts'
import type { MicrobatchHeader } from '../protocols/microbatch.ts'
import type { AnyStage, BodyStage, EndsStage, Kept } from '../stages/stage.ts'
import type { Work } from './inbox.ts'
import type { TensorBuffers } from './tensor-buffers.ts'

/** The tokens of every microbatch, as pure functions: nothing to lose in a crash. */
export interface Data {
  training(step: number, index: number): { tokens: Int32Array; targets: Int32Array }
  heldOut(index: number): { tokens: Int32Array; targets: Int32Array }
}

/** What came of a piece of work. */
export interface Outcome {
  /** The tensor that travels on, with the header that it travels under. */
  readonly onward?: { readonly header: MicrobatchHeader; readonly tensor: Float32Array }
  /** The gradient of this microbatch is now in this stage's sum. */
  readonly counted?: true
  /** Mean cross-entropy of the microbatch, nats a token. */
  readonly loss?: number
}

export type Worker = (work: Work) => Promise<Outcome>

function moved(
  header: MicrobatchHeader,
  direction: 'forward' | 'backward',
  position: number,
): MicrobatchHeader {
  return { ...header, direction, position }
}

/** A microbatch between its forward and its backward. */
export interface InFlight {
  readonly input: Float32Array
  /** By the run's policy; most keep nothing. */
  kept: Kept
}

/** A body stage keeps the input of each microbatch between its forward and its backward, and what the policy says. */
function bodyWorker(
  stage: BodyStage,
  inFlight: Map<number, InFlight>,
  buffers: TensorBuffers,
): Worker {
  return async ({ header, tensor }) => {
    const { index, position, purpose, direction } = header
    if (direction === 'forward') {
      const input = tensor!
      const onward = (output: Float32Array) => ({
        onward: { header: moved(header, 'forward', position + 1), tensor: output },
      })
      if (purpose === 'evaluate') {
        const output = await stage.forward(input)
        buffers.give(input)
        return onward(output)
      }
      // Known before it is computed: who gives the step up meanwhile clears it with the others.
      const own: InFlight = { input, kept: {} }
      inFlight.set(index, own)
      const { output, kept } = await stage.forwardKeeping(input)
      own.kept = kept
      return onward(output)
    }
    const own = inFlight.get(index)
    if (own === undefined) {
      throw new ProtocolError('REFUSED', `microbatch ${index} comes back but never came forward`)
    }
    inFlight.delete(index)
    const gradient = await stage.backward(own.input, tensor!, own.kept)
    buffers.give(own.input)
    buffers.give(tensor!)
    return {
      counted: true,
      onward: { header: moved(header, 'backward', position - 1), tensor: gradient },
    }
  }
}

/** The ends start a microbatch, turn it round at the loss, and take its gradient in at the embedding. */
function endsWorker(stage: EndsStage, data: Data, buffers: TensorBuffers): Worker {
  return async ({ header, tensor }) => {
    const { index, step, route, purpose, direction } = header
    const { tokens, targets } =
      purpose === 'train' ? data.training(step, index) : data.heldOut(index)
    if (tensor === null) {
      const embedded = await stage.embed(tokens)
      return { onward: { header: moved(header, 'forward', 0), tensor: embedded } }
    }
    if (direction === 'backward') {
      await stage.embedBackward(tokens, tensor)
      buffers.give(tensor)
      return { counted: true }
    }
    if (purpose === 'evaluate') {
      const loss = await stage.loss(tensor, targets)
      buffers.give(tensor)
      return { loss }
    }
    const { loss, inputGradient } = await stage.lossAndGradient(tensor, targets)
    buffers.give(tensor)
    return {
      loss,
      onward: { header: moved(header, 'backward', route.length - 1), tensor: inputGradient },
    }
  }
}

export function workerOf(
  stage: AnyStage,
  data: Data,
  inFlight: Map<number, InFlight>,
  buffers: TensorBuffers,
): Worker {
  switch (stage.kind) {
    case 'body':
      return bodyWorker(stage, inFlight, buffers)
    case 'ends':
      return endsWorker(stage, data, buffers)
  }
}
