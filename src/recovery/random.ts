/**
 * The lost stage starts again from its initial weights, or from newly drawn ones. It is an ablation of CheckFree, and the
 * last strategy that can restore a body stage.
 */
import type { Strategy } from './strategy.ts'

/** The row of the random start. */
export const random: Strategy = {
  name: 'random',
  donors: ({ stage }) =>
    stage === 0 ? { reason: 'initial embeddings would undo what every stage has learnt' } : [],
  rebuild: (_, initial, { learningRateScale, redraw }) => ({
    weights: redraw ? initial.redraw() : initial.weights,
    norms: [],
    learningRateScale,
  }),
}
