/** What an optimizer step is to do with the sum of a step's gradients. */
import type { Update } from '../stages/stage.ts'
import type { Run } from './run.ts'

/**
 * The mean over the microbatches, scaled down to the run's norm if it is longer.
 * @param norm of the mean gradient
 * @param learningRate of the stage: its own scale is in it
 */
export function updateOf(run: Run, norm: number, learningRate: number): Update {
  const clip = Math.min(1, run.optimizer.clipNorm / (norm + 1e-6))
  return { learningRate, gradientScale: clip / run.microbatches }
}
