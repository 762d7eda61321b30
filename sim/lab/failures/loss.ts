/** Who fails when. Drawn once a seed and failure process, and the same for all strategies. */

/** What processes draw from: the scenario, as far as failures depend on it. */
export interface Place {
  /** Hours for which failures are drawn. */
  readonly hours: number
  /** Body stages: 1..stages may fail; stage 0, the ends, only where the process says so. */
  readonly stages: number
  /** Peers that are in the swarm at any time, spares among them. Who comes in place of a lost one has its slot. */
  readonly peers: number
  /** Region of each slot. */
  readonly regionOf: (slot: number) => string
  /** Seconds that an undisturbed iteration takes, for processes that speak of iterations. */
  readonly iterationSeconds: number
}

/** Either all holders of a stage vanish, or one peer does. */
export type Loss =
  | { readonly hours: number; readonly stage: number }
  | { readonly hours: number; readonly slot: number }
