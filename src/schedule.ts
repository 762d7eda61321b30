/** The learning rate of a step, before any stage's own scale. */

export interface LearningRateConfig {
  readonly learningRate: number
  readonly warmupSteps: number
}

/** Linear warm-up to `learningRate` over the first `warmupSteps` steps (counted from 1), constant after. */
export function learningRateAt({ learningRate, warmupSteps }: LearningRateConfig, step: number) {
  return learningRate * Math.min(1, step / Math.max(1, warmupSteps))
}
