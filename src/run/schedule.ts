/** The learning rate of a step, before a rebuilt stage's own scale. Each schedule is a row of the table. */

/** Settings that decide the learning rate of each step. */
export interface ScheduleConfig {
  readonly learningRate: number
  readonly warmupSteps: number
  readonly schedule: ScheduleName
  /** Share of the learning rate that remains at the last step. */
  readonly decayTo: number
  /** Share of the steps after the warm-up, at their end, in which `stable` decays. */
  readonly decayShare: number
}

/**
 * Gives the share of the learning rate at a point of the run.
 * @param progress 0 at the end of the warm-up, 1 at the last step
 */
type Schedule = (progress: number, config: ScheduleConfig) => number

export const SCHEDULES = {
  constant: () => 1,
  /** Half a cosine down to `decayTo` (Loshchilov and Hutter, arXiv 1608.03983, without restarts). */
  cosine: (progress, { decayTo }) =>
    decayTo + (1 - decayTo) * 0.5 * (1 + Math.cos(Math.PI * progress)),
  /** Constant, then linearly down to `decayTo` (warm-up, stable, decay: arXiv 2404.06395). */
  stable: (progress, { decayTo, decayShare }) =>
    1 - (1 - decayTo) * Math.max(0, (progress - (1 - decayShare)) / decayShare),
} as const satisfies Record<string, Schedule>

export type ScheduleName = keyof typeof SCHEDULES

/**
 * Learning rate of a step.
 * @param step number of the step, from 1 to `steps`
 */
export function learningRateAt(config: ScheduleConfig, step: number, steps: number): number {
  const { learningRate, warmupSteps } = config
  // The rate rises linearly. The step after the warm-up is the first one with the whole rate.
  if (step <= warmupSteps) return learningRate * (step / (warmupSteps + 1))
  const after = steps - warmupSteps
  const progress = after > 1 ? Math.min(1, (step - warmupSteps - 1) / (after - 1)) : 1
  const schedule: Schedule = SCHEDULES[config.schedule]
  return learningRate * schedule(progress, config)
}
