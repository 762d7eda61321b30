/** What an optimizer step is to do with the sum of a step's gradients. */
import { clipFactor } from '../stages/clip.ts'
import type { Update } from '../stages/stage.ts'
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
 * @param scale what the stage's learning rate is multiplied with
 */
export function updateOf(run: Run, decision: Decision, norm: number, scale: number): Update {
  const { clip, clipNorm } = run.optimizer
  const bounded = clip === 'whole' ? decision.norm : norm
  return {
    learningRate: decision.learningRate * scale,
    gradientScale: clipFactor(bounded, clipNorm) / run.microbatches,
  }
}
