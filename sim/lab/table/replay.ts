/** Computes strategies from the undisturbed run, because they make the same steps and repeat some of them. */
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

/** Held-out loss by iteration, from the held-out loss by step of the undisturbed run. */
export function replayedCurve(undisturbed: Outcome, made: readonly number[]): Point[] {
  const curve: Point[] = [[0, undisturbed.training[0]![1]], ...undisturbed.validation]
  return undisturbed.validation.flatMap(([iteration]) => {
    const step = made[iteration - 1]
    return step === undefined ? [] : [[iteration, valueAt(curve, step)] as const]
  })
}

/** Difference between a real run and its replay. */
export interface Deviation {
  /** First iteration that makes another step, counted from 1; null if all make the same steps. */
  readonly partsAt: number | null
  /** Largest relative difference of a training loss before that iteration. */
  readonly loss: number
}

/**
 * Compares a real run with its replay.
 * @param undisturbed the same run without failures, for at least as many steps
 * @param iterations number of iterations to compare; all by default
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
