/**
 * The lost stage starts again: with the weights that it began with, or with others (the paper's ablation; the last resort
 * for a body stage).
 */
import type { Strategy } from './strategy.ts'

export const random: Strategy = {
  name: 'random',
  donors: ({ stage }) =>
    stage === 0
      ? { reason: 'embeddings from the seed would undo what every stage has learnt' }
      : [],
  rebuild: (_, initial, { learningRateScale, redraw }) => ({
    weights: redraw ? initial.anew() : initial.weights,
    norms: [],
    learningRateScale,
  }),
}
