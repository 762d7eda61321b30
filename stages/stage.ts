/**
 * What the node needs of a stage, whichever way it is computed: in this thread, in a worker, or by a cost model.
 * All tensors are flat float32 in row-major order; `tokens` and `targets` are int32 of shape [batch, context].
 * Activations and their gradients have shape [batch, context, hidden]. Buffers passed in are read, never kept;
 * buffers returned belong to the caller, but for `Kept`, which its backward takes back.
 */

/**
 * A tensor that lives in memory which a worker thread and this one both see. Only for what lives long: the garbage
 * collector does not count shared memory, so that activations in it would pile up by the gigabyte before it ran.
 */
export type SharedFloats = Float32Array<SharedArrayBuffer>

export function sharedFloats(length: number): SharedFloats {
  return new Float32Array(new SharedArrayBuffer(length * Float32Array.BYTES_PER_ELEMENT))
}

/** One tensor of a stage: its Hugging Face name and where it lies in the stage's flat weights. */
export interface Parameter {
  readonly name: string
  readonly shape: readonly number[]
  /** In elements from the start of the flat weights. */
  readonly offset: number
  /** In elements. */
  readonly length: number
}

export interface Update {
  /** Multiplies the gradient sums before anything else: 1 / microbatches, times the clip factor. */
  readonly gradientScale: number
  readonly learningRate: number
}

/** The optimizer's memory: flat, in the layout of the weights; empty if the optimizer has none of that kind. */
export interface Moments<T extends Float32Array = SharedFloats> {
  readonly firstMoment: T
  readonly secondMoment: T
}

export interface OptimizerState extends Moments<Float32Array> {
  /** Updates made since the moments were zero; the bias correction counts from here. */
  readonly updates: number
}

interface Stage {
  readonly parameters: readonly Parameter[]
  /** The live flat weights. Read them between calls only: an update in flight writes to them. */
  readonly weights: SharedFloats
  /** The live flat gradient sums, in the layout of the weights: the same holds. */
  readonly sums: SharedFloats
  /** The optimizer's live moments: the same holds. */
  readonly moments: Moments
  /** L2 norm of the gradient sums, unscaled and unclipped. NaN or infinite if any element is. */
  gradientNorm(): Promise<number>
  /** One step of the optimizer from the gradient sums, which it then sets to zero. */
  update(update: Update): Promise<void>
  zeroGradients(): Promise<void>
  /** Replaces the weights, and the optimizer's state by a fresh one unless given. Gradient sums become zero. */
  load(weights: Float32Array, optimizer?: OptimizerState): Promise<void>
  optimizerState(): Promise<OptimizerState>
  /** Waits for work in flight, then frees sessions and thread. Calls after it are refused. */
  close(): Promise<void>
}

/** What a forward leaves for its backward beside its input, by the run's policy, as float32 or the bits of float16. Of no meaning to anyone else. */
export type Kept = Readonly<Record<string, Float32Array | Uint16Array>>

/** A slice of equal-shaped transformer layers. */
export interface BodyStage extends Stage {
  readonly kind: 'body'
  forward(input: Float32Array): Promise<Float32Array>
  /** The same, for a backward to come. */
  forwardKeeping(input: Float32Array): Promise<{ output: Float32Array; kept: Kept }>
  /**
   * Adds to the gradient sums, gives the gradient of `input`.
   * @param kept of the same input, spent by this call: its memory may be used again. Computed again if left out, as is all
   *   that the policy does not keep
   * @param count false leaves the sums as they are: the microbatch is in them already
   */
  backward(
    input: Float32Array,
    outputGradient: Float32Array,
    kept?: Kept,
    count?: boolean,
  ): Promise<Float32Array>
}

/** Token embedding, final norm, head and loss: stage 0. */
export interface EndsStage extends Stage {
  readonly kind: 'ends'
  embed(tokens: Int32Array): Promise<Float32Array>
  /** Adds the embedding's share to the gradient sums. */
  embedBackward(tokens: Int32Array, outputGradient: Float32Array): Promise<void>
  /**
   * Mean cross-entropy in nats a token, its gradient with respect to `input`; adds to the gradient sums.
   * @param count false leaves the sums as they are
   */
  lossAndGradient(
    input: Float32Array,
    targets: Int32Array,
    count?: boolean,
  ): Promise<{ loss: number; inputGradient: Float32Array }>
  /** Mean cross-entropy in nats a token; nothing is accumulated. */
  loss(input: Float32Array, targets: Int32Array): Promise<number>
}

export type AnyStage = BodyStage | EndsStage
