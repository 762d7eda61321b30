/**
 * CheckFree (arXiv 2506.15461, section 4.2, Algorithm 1). The lost stage becomes the average of its two neighbours,
 * weighted by their last gradient norms w: W_i = (w₋W₋ + w₊W₊) / (w₋ + w₊). The less converged neighbour has the larger
 * gradient and the larger weight. The optimizer's moments start at zero unless the run averages them. The learning rate
 * is multiplied by `learningRateScale`, 1.1 by default.
 *
 * The norms are measured before clipping. After clipping to 1 both norms are often 1, and the average becomes uniform.
 */
import type { OptimizerState } from '../../stages/stage.ts'
import type { Loss, Origin, Source, Strategy } from './strategy.ts'

/** The two neighbours of a stage, or the reason why the stage cannot be averaged. */
export function neighbours({
  stage,
  bodyStages,
  live,
}: Loss): readonly Origin[] | { reason: string } {
  if (stage === 0) return { reason: 'the ends have no neighbour of their shape' }
  if (stage === 1 || stage === bodyStages) {
    return { reason: `stage ${stage} is at the edge: it has one neighbour of its shape, not two` }
  }
  for (const neighbour of [stage - 1, stage + 1]) {
    if (!live.has(neighbour)) return { reason: `its neighbour stage ${neighbour} is lost too` }
  }
  return [{ stage: stage - 1 }, { stage: stage + 1 }]
}

/** Weighted mean (w₋W₋ + w₊W₊) / (w₋ + w₊), summed in float64. If all shares are zero, each array weighs the same. */
function weightedAverage(arrays: readonly Float32Array[], shares: readonly number[]): Float32Array {
  const total = shares.reduce((sum, share) => sum + share, 0)
  const portions = shares.map((share) => (total > 0 ? share / total : 1 / shares.length))
  const average = new Float32Array(arrays[0]!.length)
  for (let i = 0; i < average.length; i++) {
    let sum = 0
    for (let s = 0; s < arrays.length; s++) sum += portions[s]! * arrays[s]![i]!
    average[i] = sum
  }
  return average
}

/** Weighted mean of the neighbours' moments. The number of updates is the smallest of the neighbours'. */
function averagedMoments(
  states: readonly OptimizerState[],
  shares: readonly number[],
): OptimizerState {
  const average = (part: 'firstMoment' | 'secondMoment') =>
    weightedAverage(
      states.map((state) => state[part]),
      shares,
    )
  return {
    firstMoment: average('firstMoment'),
    secondMoment: average('secondMoment'),
    updates: Math.min(...states.map(({ updates }) => updates)),
  }
}

/**
 * The average of Algorithm 1.
 * @param sources weights, gradient norms and perhaps moments of the neighbours
 * @param normExponent power to which each gradient norm is raised; 0 gives the plain mean
 */
export function average(
  sources: readonly Source[],
  normExponent: number,
  learningRateScale: number,
) {
  // Before the first update no neighbour has a norm, and all of them weigh the same.
  const norms = sources.map(({ norm }) => norm ?? 1)
  const shares = norms.map((norm) => norm ** normExponent)
  const states = sources.flatMap(({ optimizer }) => optimizer ?? [])
  return {
    weights: weightedAverage(
      sources.map(({ weights }) => weights),
      shares,
    ),
    norms,
    learningRateScale,
    ...(states.length === sources.length && { optimizer: averagedMoments(states, shares) }),
  }
}

/** The row of CheckFree. */
export const checkfree: Strategy = {
  name: 'checkfree',
  donors: neighbours,
  moments: ({ moments }) => moments === 'averaged',
  rebuild: (sources, _, { normExponent, learningRateScale }) =>
    average(sources, normExponent, learningRateScale),
}
