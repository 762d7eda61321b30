/** Losses of stages by iteration, drawn once for each seed and equal for all strategies. */
import { Random } from '../../../stages/random.ts'
import type { Death } from '../../scenario.ts'
import { toLastCheckpoint } from '../replay.ts'

export interface Failures {
  readonly seed: number
  /** Probability that a body stage is lost in an iteration. */
  readonly rate: number
  readonly iterations: number
  /** Iterations before the first one in which a stage may fail. */
  readonly quiet: number
  readonly stages: number
  /** Excludes the first and the last body stage from losses, because plain CheckFree cannot recover these stages. */
  readonly edgesExempt: boolean
}

/**
 * Draws losses: each stage is lost right after an iteration or is not, independently of all others.
 * The draws depend neither on the rate nor on the number of iterations.
 * So the losses of a lower rate are among those of a higher one.
 * The losses with exempt edges are among those of all stages.
 */
export function drawDeaths(failures: Failures): Death[] {
  const { seed, rate, iterations, quiet, stages, edgesExempt } = failures
  const random = new Random(seed).stream('failures')
  const deaths: Death[] = []
  for (let step = quiet + 1; step < iterations; step++) {
    const draws = random.stream(step)
    for (let stage = 1; stage <= stages; stage++) {
      const fails = draws.float() < rate
      if (fails && !(edgesExempt && (stage === 1 || stage === stages))) deaths.push({ step, stage })
    }
  }
  return deaths
}

/**
 * The step that each iteration makes if every loss rolls the whole model back to the last checkpoint.
 * A stage that is lost right after a step has not saved that step.
 * @param every number of steps between two checkpoints
 * @returns a step for each iteration until `steps` steps are made, and for at most `iterationsMax` iterations
 */
export function stepsOfRollback(
  deaths: readonly Death[],
  every: number,
  steps: number,
  iterationsMax: number,
): number[] {
  const backTo = toLastCheckpoint(every)
  const failing = new Set(deaths.map(({ step }) => step))
  const made: number[] = []
  let committed = 0
  while (committed < steps && made.length < iterationsMax) {
    made.push(++committed)
    if (failing.has(made.length)) committed = backTo(committed)
  }
  return made
}

/**
 * Losses of a stage within `withinSteps` iterations after a loss of its standby.
 * The standby may be lost with the stage, or the new standby may not be ready yet.
 * @param before number of stages from the standby to the stage; 0 for a second holder of the stage itself
 */
export function jointFailures(
  deaths: readonly Death[],
  withinSteps: number,
  before: number,
): Death[] {
  return deaths.filter((death) =>
    deaths.some((other) => {
      const after = death.step - other.step
      const isStandby = other !== death && other.stage === death.stage - before
      return isStandby && after >= 0 && after <= withinSteps
    }),
  )
}
