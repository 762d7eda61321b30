/** Who fails when: drawn once a seed, and the same for all strategies. */
import { Random } from '../../stages/random.ts'
import type { Death } from '../scenario.ts'

export interface Failures {
  readonly seed: number
  /** Of a body stage in an iteration. */
  readonly rate: number
  readonly iterations: number
  /** Iterations before the first one in which a stage may fail. */
  readonly quiet: number
  readonly stages: number
  /** The first and the last body stage never fail: plain CheckFree cannot bring them back. */
  readonly edgesExempt: boolean
}

/**
 * Each stage fails right after an iteration or does not, independently of all others. What is drawn does not depend on
 * the rate nor on the number of iterations: the failures of a lower rate are among those of a higher one, and those of
 * exempt edges among those of all stages.
 */
export function drawFailures(failures: Failures): Death[] {
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
 * Which step a failure right after another one takes all stages back to: the last multiple of `every`. A stage that vanishes
 * right after a step has not saved it any more.
 */
function toCheckpoint(every: number): (step: number) => number {
  return (step) => Math.floor(Math.max(0, step - 1) / every) * every
}

/**
 * Which step each iteration makes when every failure takes the whole model back to the last checkpoint. A stage that
 * vanishes right after a step has not saved it any more.
 * @param every steps between two checkpoints
 * @returns of as many iterations as it takes to make `steps` steps, or of `iterationsMax`
 */
export function stepsOfRollback(
  deaths: readonly Death[],
  every: number,
  steps: number,
  iterationsMax: number,
): number[] {
  const failing = new Set(deaths.map(({ step }) => step))
  const made: number[] = []
  let committed = 0
  while (committed < steps && made.length < iterationsMax) {
    made.push(++committed)
    if (failing.has(made.length)) committed = toCheckpoint(every)(committed)
  }
  return made
}

/**
 * Failures of a stage within so many iterations of a failure of the one whose holder stands by for it: the standby may
 * not have survived, or its successor not be ready yet.
 * @param before how many stages before it that is; 0 for a second holder of the stage itself
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
