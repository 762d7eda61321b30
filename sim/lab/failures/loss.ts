/** Losses, drawn once for each seed and failure process, and equal for all strategies. */

/** The part of a scenario that failures depend on. */
export interface Place {
  /** Hours for which failures are drawn. */
  readonly hours: number
  /** Number of body stages. Stages 1..stages may fail; stage 0, the ends, fails only if the process allows it. */
  readonly stages: number
  /** Number of peers in the swarm at any time, including spares. The replacement of a lost peer takes its slot. */
  readonly peers: number
  /** Region of each slot. */
  readonly regionOf: (slot: number) => string
  /** Seconds of an undisturbed iteration, for processes that count iterations. */
  readonly iterationSeconds: number
}

/** Loss of all holders of a stage, or of the peer in a slot. */
export type Loss =
  | { readonly hours: number; readonly stage: number }
  | { readonly hours: number; readonly slot: number }
