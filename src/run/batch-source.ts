/** The source of the tokens that the ends of the pipeline read. */

/** Tokens of one microbatch, each row-major [batch, context]. `targets` are the tokens that follow `tokens`. */
export interface Tokens {
  readonly tokens: Int32Array
  readonly targets: Int32Array
}

/**
 * The tokens of every microbatch, as pure functions of its number, so that a crash loses no position in the data. Tokens
 * that have to be fetched first come as a promise.
 */
export interface BatchSource {
  /** Training tokens of microbatch `index` of a step. Steps count from 1 and microbatches from 0. */
  training(step: number, index: number): Tokens | Promise<Tokens>
  /** Held-out tokens of microbatch `index` of an evaluation. */
  heldOut(index: number): Tokens | Promise<Tokens>
}
