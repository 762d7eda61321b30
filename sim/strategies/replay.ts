/** What needs no run of its own: strategies after which the steps of the undisturbed run are made, some of them again. */
import type { Case } from './cases.ts'
import { SCALES } from './scales.ts'
import { type Point, valueAt } from './statistics.ts'
import { drawFailures, stepsOfRollback } from './trace.ts'
import type { Outcome, Trial } from './trial.ts'

/** Which step each iteration makes. */
export function stepsOf(
  replay: NonNullable<Case['replay']>,
  trial: Trial,
  iterationsMax: number,
): number[] {
  const { steps } = trial
  if (replay === 'exact') return Array.from({ length: steps }, (_, i) => i + 1)
  return stepsOfRollback(deathsOf(trial), replay, steps, iterationsMax)
}

export function deathsOf({ scale, seed, rate, steps, edgesExempt }: Trial) {
  const { quiet, typed } = SCALES[scale]
  const stages = Number(typed.stages)
  return drawFailures({ seed, rate, iterations: steps, quiet, stages, edgesExempt })
}

/** The loss on held-out text by iterations that were paid for, from that of the undisturbed run by steps. */
export function replayedCurve(undisturbed: Outcome, made: readonly number[]): Point[] {
  const curve: Point[] = [[0, undisturbed.training[0]![1]], ...undisturbed.validation]
  return undisturbed.validation.flatMap(([iteration]) => {
    const step = made[iteration - 1]
    return step === undefined ? [] : [[iteration, valueAt(curve, step)] as const]
  })
}

/** Where a real run first parts from its replay, counted from 1; null if they are the same to the last digit. */
export function partsAt(
  real: Outcome,
  undisturbed: Outcome,
  replay: NonNullable<Case['replay']>,
): number | null {
  const made = stepsOf(replay, real.trial, Number.POSITIVE_INFINITY)
  const length = Math.max(made.length, real.training.length)
  for (let i = 0; i < length; i++) {
    const expected = undisturbed.training[made[i]! - 1]
    const found = real.training[i]
    if (expected?.[0] !== found?.[0] || expected?.[1] !== found?.[1]) return i + 1
  }
  return null
}
