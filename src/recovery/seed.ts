/** A stage that nobody has held yet: its weights are the run's initial ones. Not a recovery, so not in any policy. */
import type { Strategy } from './strategy.ts'

export const seed: Strategy = {
  name: 'seed',
  donors: () => [],
  rebuild: (_, initial) => ({ weights: initial.weights, norms: [], learningRateScale: 1 }),
}
