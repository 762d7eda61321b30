/** The first holder of a stage: it starts from the run's initial weights. No policy names it. */
import type { Strategy } from './strategy.ts'

/** The row of a stage's first holder. */
export const seed: Strategy = {
  name: 'seed',
  donors: () => [],
  rebuild: (_, initial) => ({ weights: initial.weights, norms: [], learningRateScale: 1 }),
}
