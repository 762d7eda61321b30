/** What a stage does with a microbatch that has reached it: one row a kind of stage and direction. */
import { ProtocolError } from '../../protocols/errors.ts'
import type { MicrobatchHeader } from '../../protocols/microbatch.ts'
import type { AnyStage, BodyStage, EndsStage, Kept } from '../../stages/stage.ts'
import type { BatchSource } from '../run/batch-source.ts'
import type { Work } from './inbox.ts'
import type { TensorBuffers } from './tensor-buffers.ts'

/** The microbatches of a step whose gradients are in this stage's sums. Each is there once. */
export interface Counted {
  readonly counted: Set<number>
  /** In the ends: those whose share of the head is in. They are counted when the embedding's is, too. */
  readonly turned: Set<number>
}

/** What came of a piece of work. */
export interface Outcome {
  /** The tensor that travels on, with the header that it travels under. */
  readonly onward?: { readonly header: MicrobatchHeader; readonly tensor: Float32Array }
  /** Mean cross-entropy of the microbatch, nats a token. */
  readonly loss?: number
}

/** Counts what it adds to the sums. */
export type MicrobatchExecutor = (work: Work, counted: Counted) => Promise<Outcome>

function moved(
  header: MicrobatchHeader,
  direction: 'forward' | 'backward',
  position: number,
): MicrobatchHeader {
  return { ...header, direction, position }
}

/** A microbatch between its forward and its backward. */
export interface InFlight {
  readonly attempt: number
  readonly input: Float32Array
  /** By the run's policy; most keep nothing. */
  kept: Kept
}

/** A body stage keeps the input of each microbatch between its forward and its backward, and what the policy says. */
function bodyWorker(
  stage: BodyStage,
  inFlight: Map<number, InFlight>,
  buffers: TensorBuffers,
): MicrobatchExecutor {
  return async ({ header, tensor }, { counted }) => {
    const { index, attempt, position, purpose, direction } = header
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
      const own: InFlight = { attempt, input, kept: {} }
      inFlight.set(index, own)
      const { output, kept } = await stage.forwardKeeping(input)
      own.kept = kept
      return onward(output)
    }
    const own = inFlight.get(index)
    if (own?.attempt !== attempt) {
      throw new ProtocolError('REFUSED', `microbatch ${index} comes back but never came forward`)
    }
    inFlight.delete(index)
    const count = !counted.has(index)
    const gradient = await stage.backward(own.input, tensor!, own.kept, count)
    counted.add(index)
    buffers.give(own.input)
    buffers.give(tensor!)
    return { onward: { header: moved(header, 'backward', position - 1), tensor: gradient } }
  }
}

/** The ends start a microbatch, turn it round at the loss, and take its gradient in at the embedding. */
function endsWorker(
  stage: EndsStage,
  data: BatchSource,
  buffers: TensorBuffers,
): MicrobatchExecutor {
  return async ({ header, tensor }, { counted, turned }) => {
    const { index, step, route, purpose, direction } = header
    const { tokens, targets } = await (purpose === 'train'
      ? data.training(step, index)
      : data.heldOut(index))
    if (tensor === null) {
      const embedded = await stage.embed(tokens)
      return { onward: { header: moved(header, 'forward', 0), tensor: embedded } }
    }
    if (direction === 'backward') {
      if (!counted.has(index)) await stage.embedBackward(tokens, tensor)
      counted.add(index)
      buffers.give(tensor)
      return {}
    }
    if (purpose === 'evaluate') {
      const loss = await stage.loss(tensor, targets)
      buffers.give(tensor)
      return { loss }
    }
    const count = !turned.has(index)
    const { loss, inputGradient } = await stage.lossAndGradient(tensor, targets, count)
    turned.add(index)
    buffers.give(tensor)
    return {
      loss,
      onward: { header: moved(header, 'backward', route.length - 1), tensor: inputGradient },
    }
  }
}

export function executorOf(
  stage: AnyStage,
  data: BatchSource,
  inFlight: Map<number, InFlight>,
  buffers: TensorBuffers,
): MicrobatchExecutor {
  switch (stage.kind) {
    case 'body':
      return bodyWorker(stage, inFlight, buffers)
    case 'ends':
      return endsWorker(stage, data, buffers)
  }
}
