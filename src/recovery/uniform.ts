/** The plain mean of the two neighbours, an ablation of CheckFree without gradient norms. */
import { average, neighbours } from './checkfree.ts'
import type { Strategy } from './strategy.ts'

/** The row of the plain mean. */
export const uniform: Strategy = {
  name: 'uniform',
  donors: neighbours,
  rebuild: (sources, _, { learningRateScale }) => average(sources, 0, learningRateScale),
}
