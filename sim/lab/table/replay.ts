/** Strategies that need no run of their own: they make the steps of the undisturbed run, some of them again. */
import { type Point, valueAt } from '../statistics.ts'
import type { Case } from '../strategies.ts'
import { stepsOfRollback } from './deaths.ts'
import { deathsOf, type Outcome, type Trial } from './trial.ts'

/** The step that each iteration makes. */
export function stepsOf(
  replay: NonNullable<Case['replay']>,
  trial: Trial,
  iterationsMax: number,
): number[] {
  const { steps } = trial
  if (replay === 'exact') return Array.from({ length: steps }, (_, i) => i + 1)
  return stepsOfRollback(deathsOf(trial), replay, steps, iterationsMax)
}

/** The held-out loss by iterations, from the held-out loss of the undisturbed run by steps. */
export function replayedCurve(undisturbed: Outcome, made: readonly number[]): Point[] {
  const curve: Point[] = [[0, undisturbed.training[0]![1]], ...undisturbed.validation]
  return undisturbed.validation.flatMap(([iteration]) => {
    const step = made[iteration - 1]
    return step === undefined ? [] : [[iteration, valueAt(curve, step)] as const]
  })
}

/** How a real run compares with its replay. */
export interface Deviation {
  /** The first iteration that makes another step, counted from 1; null if all make the same. */
  readonly partsAt: number | null
  /** The largest difference of a training loss until then, as a share of it. */
  readonly loss: number
}

/**
 * @param undisturbed the same run without failures, for at least as many steps
 * @param iterations how many are compared; all if left out
 */
export function deviation(
  real: Outcome,
  undisturbed: Outcome,
  replay: NonNullable<Case['replay']>,
  iterations = Number.POSITIVE_INFINITY,
): Deviation {
  const made = stepsOf(replay, real.trial, Number.POSITIVE_INFINITY)
  const losses = new Map(undisturbed.training)
  let loss = 0
  for (let i = 0; i < Math.min(iterations, Math.max(made.length, real.training.length)); i++) {
    const point = real.training[i]
    if (point === undefined || point[0] !== made[i]) return { partsAt: i + 1, loss }
    const expected = losses.get(point[0])!
    loss = Math.max(loss, Math.abs(point[1] - expected) / expected)
  }
  return { partsAt: null, loss }
}
