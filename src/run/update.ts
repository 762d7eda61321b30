/** What an optimizer step is to do with the sum of a step's gradients. */
import { clipFactor } from '../../stages/clip.ts'
import type { Update } from '../../stages/stage.ts'
import type { Run } from './run.ts'

/** What was decided with a step, for all stages. */
export interface Decision {
  readonly learningRate: number
  /** L2 norm of the whole model's mean gradient, before clipping. */
  readonly norm: number
}

/**
 * The mean over the microbatches, scaled down if its norm, or that of the whole model, is above the run's bound.
 * @param norm of the stage's mean gradient
 * @param scale what the stage's learning rate was multiplied with when it was rebuilt
 * @param updates that its optimizer has made since
 */
export function updateOf(
  run: Run,
  decision: Decision,
  norm: number,
  scale: number,
  updates: number,
): Update {
  const { clip, clipNorm } = run.optimizer
  const { learningRateScaleSteps: steps } = run.recovery
  const left = steps === 0 ? 1 : Math.max(0, 1 - updates / steps)
  const bounded = clip === 'whole' ? decision.norm : norm
  return {
    learningRate: decision.learningRate * (1 + (scale - 1) * left),
    gradientScale: clipFactor(bounded, clipNorm) / run.microbatches,
  }
}
