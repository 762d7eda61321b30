/** A scenario of two minutes, with a tiny model and rates under which a stage is lost every few iterations. */
import { SMALL_RUN, WIDE_AREA } from './small.ts'
import type { WrittenScenario } from './written.ts'

export const quick: WrittenScenario = {
  format: 'gensyn-scenario',
  version: 1,
  name: 'quick',
  says: 'A tiny model of six stages with a failure every few iterations. The scenario shows a report, and the order of the strategies.',
  ...WIDE_AREA,
  run: {
    ...SMALL_RUN,
    optimizer: { learningRate: 0.002, warmupSteps: 20 },
    evaluation: { everySteps: 10, microbatches: 8 },
  },
  iterationSeconds: 300,
  failures: [
    { name: '16 % an hour', process: 'hourly', rate: 0.16, of: 'stage' },
    { name: '33 % an hour', process: 'hourly', rate: 0.33, of: 'stage' },
  ],
  strategies: [
    'checkfree+',
    {
      name: 'shadow',
      says: 'own weights in int8 and moments in bfloat16, kept by another member, at most 4 iterations old',
      recovery: { policy: ['shadow', 'checkfree', 'copy', 'random'], shadow: { everySteps: 4 } },
    },
    'checkpoint-10',
  ],
  seeds: [1, 2],
  targetLoss: 2.6,
  budget: { iterations: 320 },
}
