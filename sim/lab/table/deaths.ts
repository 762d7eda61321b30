/** Which stages are lost after which iterations: drawn once for each seed, and the same for all strategies. */
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
  /** The first and the last body stage are never lost: plain CheckFree cannot bring them back. */
  readonly edgesExempt: boolean
}

/**
 * Each stage is lost right after an iteration or is not, independently of all others. The draws depend neither on the rate
 * nor on the number of iterations. So the losses of a lower rate are among those of a higher one, and the losses with
 * exempt edges among those of all stages.
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
 * The step that each iteration makes if every loss takes the whole model back to the last checkpoint. A stage that is lost
 * right after a step has not saved that step.
 * @param every steps between two checkpoints
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
 * Losses of a stage within so many iterations of a loss of its standby. The standby may not have survived, or its successor
 * may not be ready yet.
 * @param before how many stages before the stage its standby is; 0 for a second holder of the stage itself
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
