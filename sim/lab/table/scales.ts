/** Settings of the trials of the table: the model and text of the reference runs, or a tiny model for tests. */

/** Number of spares. If two stages are lost at once, both recover under the same roster. */
export const SPARES = 2

interface Scale {
  /** Settings of the run, as in run.json. */
  readonly run: Readonly<Record<string, unknown>> & { readonly stages: number }
  /** Iterations before the first one in which a stage may be lost. */
  readonly quiet: number
}

const SHARED = { stages: 6, spares: SPARES, microbatches: 2 } as const

export const SCALES = {
  /** Six stages of one layer, 2,048 bytes a step, the State of the Union addresses. */
  full: {
    run: {
      ...SHARED,
      model: { layers: 6, hiddenSize: 128, intermediateSize: 344, heads: 4, keyValueHeads: 4 },
      microbatch: { context: 128, batch: 8 },
      optimizer: {
        learningRate: 0.001,
        warmupSteps: 50,
        schedule: 'constant',
        clipNorm: 1,
        clip: 'stage',
      },
      data: { heldOut: 0.05 },
      evaluation: { everySteps: 25, microbatches: 8 },
      // Keeping all activations gives the same numbers and is a tenth faster.
      keep: 'all',
    },
    quiet: 50,
  },
  tiny: {
    run: {
      ...SHARED,
      model: { layers: 6, hiddenSize: 16, intermediateSize: 32, heads: 2, keyValueHeads: 2 },
      microbatch: { context: 16, batch: 4 },
      optimizer: { learningRate: 0.003, warmupSteps: 5 },
      evaluation: { everySteps: 5, microbatches: 4 },
    },
    quiet: 50,
  },
} as const satisfies Record<string, Scale>
