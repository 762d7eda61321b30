/** The plain mean of the two neighbours (the paper's ablation of the gradient norms). */
import { average, neighbours } from './checkfree.ts'
import type { Strategy } from './strategy.ts'

export const uniform: Strategy = {
  name: 'uniform',
  donors: neighbours,
  rebuild: (sources, _, { learningRateScale }) => average(sources, 0, learningRateScale),
}
