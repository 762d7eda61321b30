/** Where the ends of the pipeline take the tokens of a microbatch from. */
/** Row-major [batch, context]; `targets` are the tokens that follow `tokens`. */
export interface Tokens {
  readonly tokens: Int32Array
  readonly targets: Int32Array
}

/** The tokens of every microbatch, as pure functions: nothing to lose in a crash. What is not here yet takes its time. */
export interface BatchSource {
  training(step: number, index: number): Tokens | Promise<Tokens>
  heldOut(index: number): Tokens | Promise<Tokens>
}
