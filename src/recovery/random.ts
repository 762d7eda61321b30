/** The lost stage starts again from the run's seed (the paper's ablation; the last resort for a body stage). */
import type { Strategy } from './strategy.ts'

export const random: Strategy = {
  name: 'random',
  donors: ({ stage }) =>
    stage === 0
      ? { reason: 'embeddings from the seed would undo what every stage has learnt' }
      : [],
  rebuild: (_, initial, { learningRateScale }) => ({
    weights: initial,
    norms: [],
    learningRateScale,
  }),
}
