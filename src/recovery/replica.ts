/** One more holder of a stage that has some: an exact copy, moments and all. Never a loss, so it is in no policy. */
import type { Strategy } from './strategy.ts'

export const replica: Strategy = {
  name: 'replica',
  moments: () => true,
  donors: ({ stage }) => [{ stage }],
  rebuild: ([source]) => ({
    weights: source!.weights,
    norms: [],
    learningRateScale: source!.learningRateScale,
    optimizer: source!.optimizer!,
    norm: source!.norm,
  }),
}
