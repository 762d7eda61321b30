/**
 * Interface of a stage, computed in this thread, in a worker, or by a cost model. All tensors are flat float32 in row-major
 * order. `tokens` and `targets` are int32 of shape [batch, context]. Activations and their gradients have shape [batch,
 * context, hidden]. A stage reads the buffers of the caller and does not keep them. Returned buffers belong to the caller,
 * except `Kept`, which backward takes back.
 */

/**
 * Tensor in memory that a worker thread and this thread share. Only for buffers with a long life: the garbage collector does
 * not count shared memory, so gigabytes of activations could wait for collection.
 */
export type SharedFloats = Float32Array<SharedArrayBuffer>

export function sharedFloats(length: number): SharedFloats {
  return new Float32Array(new SharedArrayBuffer(length * Float32Array.BYTES_PER_ELEMENT))
}

/** One tensor of a stage: its Hugging Face name and its place in the flat weights. */
export interface Parameter {
  readonly name: string
  readonly shape: readonly number[]
  /** First element in the flat weights. */
  readonly offset: number
  /** Number of elements. */
  readonly length: number
}

export interface Update {
  /** Factor of the gradient sums: 1 / microbatches, times the clip factor. */
  readonly gradientScale: number
  readonly learningRate: number
}

/** Moments of the optimizer, flat, in the layout of the weights. Empty for an optimizer without that moment. */
export interface Moments<T extends Float32Array = SharedFloats> {
  readonly firstMoment: T
  readonly secondMoment: T
}

export interface OptimizerState extends Moments<Float32Array> {
  /** Number of updates since the moments were zero, for the bias correction. */
  readonly updates: number
}

interface Stage {
  readonly parameters: readonly Parameter[]
  /** Live flat weights. They may be read between calls only, since an update writes to them. */
  readonly weights: SharedFloats
  /** Live flat gradient sums, in the layout of the weights. They may be read between calls only. */
  readonly sums: SharedFloats
  /** Live moments of the optimizer. They may be read between calls only. */
  readonly moments: Moments
  /** L2 norm of the gradient sums, before scaling and clipping. NaN or infinite if an element is. */
  gradientNorm(): Promise<number>
  /** Applies one optimizer update from the gradient sums, and sets the sums to zero. */
  update(update: Update): Promise<void>
  zeroGradients(): Promise<void>
  /** Replaces the weights and the optimizer's state. Without a state the moments become zero. Gradient sums become zero. */
  load(weights: Float32Array, optimizer?: OptimizerState): Promise<void>
  optimizerState(): Promise<OptimizerState>
  /** Waits for calls in progress, then frees sessions and thread. Later calls fail. */
  close(): Promise<void>
}

/**
 * Values that forward keeps for backward besides the input, by the run's policy, as float32 or the bits of float16. Opaque to
 * callers.
 */
export type Kept = Readonly<Record<string, Float32Array | Uint16Array>>

/** Stage with some of the transformer layers. */
export interface BodyStage extends Stage {
  readonly kind: 'body'
  forward(input: Float32Array): Promise<Float32Array>
  /** Forward that also returns the kept values for backward. */
  forwardKeeping(input: Float32Array): Promise<{ output: Float32Array; kept: Kept }>
  /**
   * Adds to the gradient sums, and returns the gradient of `input`.
   * @param kept kept values of the same input. This call consumes them: their memory is reused. Without them the stage computes
   *   the values again
   * @param count false leaves the sums unchanged, for a microbatch that they contain already
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
  /** Adds the gradient of the embedding to the gradient sums. */
  embedBackward(tokens: Int32Array, outputGradient: Float32Array): Promise<void>
  /**
   * Mean cross-entropy in nats a token, and its gradient with respect to `input`. Adds to the gradient sums.
   * @param count false leaves the sums unchanged
   */
  lossAndGradient(
    input: Float32Array,
    targets: Int32Array,
    count?: boolean,
  ): Promise<{ loss: number; inputGradient: Float32Array }>
  /** Mean cross-entropy in nats a token. Leaves the gradient sums unchanged. */
  loss(input: Float32Array, targets: Int32Array): Promise<number>
}

export type AnyStage = BodyStage | EndsStage
