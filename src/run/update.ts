/** The parameters of an optimizer step: its learning rate, and the scale of the summed gradients. */
import { clipFactor } from '../../stages/clip.ts'
import type { Update } from '../../stages/stage.ts'
import type { Run } from './run.ts'

/** The committed values of a step, the same for all stages. */
export interface Decision {
  readonly learningRate: number
  /** L2 norm of the whole model's mean gradient, before clipping. */
  readonly norm: number
}

/**
 * Parameters of a stage's optimizer step. The gradient scale turns the sum over microbatches into their mean. It also
 * clips the mean if its norm, or the whole model's norm, exceeds `clipNorm`.
 * @param norm L2 norm of the stage's mean gradient
 * @param scale factor by which the stage's learning rate was multiplied when the stage was rebuilt; 1 otherwise
 * @param updates number of optimizer updates that the stage has applied since
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
