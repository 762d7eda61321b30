/** A further holder of a stage that has holders: an exact copy with its moments. No policy names it. */
import type { Strategy } from './strategy.ts'

/** The row of a new replica. */
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
