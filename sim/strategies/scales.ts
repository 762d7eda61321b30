/** What is trained in a trial: the model and text of the reference runs, or a tiny one for tests. */
import type { InitOptions } from '../../src/cli/init.ts'

export interface Scale {
  /** As typed by a user of `init`. */
  readonly typed: InitOptions['settings']
  /** Settings that no option sets, by their path in the manifest. */
  readonly given: Readonly<Record<string, unknown>>
  /** Iterations in which nobody fails. */
  readonly quiet: number
}

export const SCALES = {
  /** Six stages of one layer, 2,048 bytes a step, the State of the Union addresses. */
  full: {
    typed: {
      stages: '6',
      layers: '6',
      hidden: '128',
      intermediate: '344',
      heads: '4',
      context: '128',
      batch: '8',
      microbatches: '2',
      learningRate: '0.001',
      warmupSteps: '50',
      schedule: 'constant',
      clipNorm: '1',
      clip: 'stage',
      heldOut: '0.05',
      evaluateEvery: '25',
    },
    // Keeping all makes the same numbers a tenth faster.
    given: { 'evaluation.microbatches': 8, keep: 'all' },
    quiet: 50,
  },
  tiny: {
    typed: {
      stages: '6',
      layers: '6',
      hidden: '16',
      intermediate: '32',
      heads: '2',
      context: '16',
      batch: '4',
      microbatches: '2',
      learningRate: '0.003',
      warmupSteps: '5',
      evaluateEvery: '5',
    },
    given: { 'evaluation.microbatches': 4 },
    quiet: 50,
  },
} as const satisfies Record<string, Scale>
