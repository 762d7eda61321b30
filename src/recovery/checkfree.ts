/**
 * CheckFree (arXiv 2506.15461, section 4.2, Algorithm 1): the lost stage is the average of its two neighbours, tensor
 * by tensor, weighted by their last gradient norms: W_i = (w₋W₋ + w₊W₊) / (w₋ + w₊). The less converged neighbour,
 * with the larger gradient, weighs more. Fresh optimizer state; learning rate x 1.1.
 *
 * The norms are taken before clipping: after clipping to 1 both are often 1, and the average turns uniform.
 */
import type { Loss, Source, Strategy } from './strategy.ts'

function neighbours({ stage, bodyStages, live }: Loss): readonly number[] | { reason: string } {
  if (stage === 0) return { reason: 'the ends have no neighbour of their shape' }
  if (stage === 1 || stage === bodyStages) {
    return { reason: `stage ${stage} is at the edge: it has one neighbour of its shape, not two` }
  }
  for (const neighbour of [stage - 1, stage + 1]) {
    if (!live.has(neighbour)) return { reason: `its neighbour stage ${neighbour} is lost too` }
  }
  return [stage - 1, stage + 1]
}

/** (w₋W₋ + w₊W₊) / (w₋ + w₊), in float64 an element. Equal weights when both are zero. */
function weightedAverage(
  sources: readonly Pick<Source, 'weights'>[],
  shares: readonly number[],
): Float32Array {
  const total = shares.reduce((sum, share) => sum + share, 0)
  const portions = shares.map((share) => (total > 0 ? share / total : 1 / shares.length))
  const average = new Float32Array(sources[0]!.weights.length)
  for (let i = 0; i < average.length; i++) {
    let sum = 0
    for (let s = 0; s < sources.length; s++) sum += portions[s]! * sources[s]!.weights[i]!
    average[i] = sum
  }
  return average
}

export const checkfree: Strategy = {
  name: 'checkfree',
  donors: neighbours,
  rebuild(sources, _, { normExponent, learningRateScale }) {
    // Before the first update no neighbour has a norm: then they weigh the same.
    const norms = sources.map(({ norm }) => norm ?? 1)
    const shares = norms.map((norm) => norm ** normExponent)
    return { weights: weightedAverage(sources, shares), norms, learningRateScale }
  },
}
