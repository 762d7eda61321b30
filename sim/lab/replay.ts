/**
 * Replays a strategy without training: walks along the curve of an undisturbed run. A loss takes time and may move the
 * walk back. Everything else is as in the undisturbed run.
 */

import type { Loss } from './failures/loss.ts'
import { type Point, valueAt } from './statistics.ts'

export interface Walk {
  /** Held-out loss by number of iterations, from 0 on. */
  readonly curve: readonly Point[]
  /** Losses in the order of their hours. */
  readonly losses: readonly Loss[]
  /** Duration of an iteration. */
  readonly seconds: number
  /** Duration of a recovery, in which nothing is trained. Another loss during a recovery restarts it. */
  readonly recoverySeconds: number
  /** Progress after a loss, from the progress before it. Progress is in iterations, and may be a fraction. */
  readonly backTo: (progress: number) => number
  /** Number of iterations between two evaluations of the loss. */
  readonly everySteps: number
  readonly iterationsMax: number
  readonly hoursMax: number
  /** Held-out loss that ends the walk; null for no target. */
  readonly targetLoss: number | null
}

export interface Walked {
  /** Number of iterations made. Iterations that are repeated count again. */
  readonly iterations: number
  /** Number of iterations that count as progress at the end. */
  readonly progress: number
  readonly hours: number
  readonly curve: [iterations: number, hours: number, loss: number][]
  readonly met: Met[]
}

/** A loss, and the progress that it cost. */
interface Met {
  readonly loss: Loss
  /** The last iteration before the loss. */
  readonly iteration: number
  readonly lost: number
}

const HOUR = 3_600

export function walk(given: Walk): Walked {
  const { seconds, backTo, everySteps, iterationsMax, hoursMax } = given
  const recoveryHours = given.recoverySeconds / HOUR
  const iterationHours = seconds / HOUR
  const curve: Walked['curve'] = []
  const met: Met[] = []
  let hours = 0
  let progress = 0
  let made = 0
  let looks = 0
  /** Walks until the next evaluation or the end, or until `hour` if it comes first. */
  const goOn = (hour: number) => {
    const next = Math.min((looks + 1) * everySteps, iterationsMax)
    const whole = (next - made) * iterationHours
    const end = Math.min(hour, hoursMax)
    if (hours + whole > end) {
      const part = (end - hours) / iterationHours
      hours = end
      made += part
      progress += part
      return
    }
    hours += whole
    progress += next - made
    made = next
    if (made !== (looks + 1) * everySteps) return
    looks++
    curve.push([made, hours, valueAt(given.curve, progress)])
  }
  const isOver = () =>
    made >= iterationsMax ||
    hours >= hoursMax ||
    (given.targetLoss !== null &&
      (curve.at(-1)?.[2] ?? Number.POSITIVE_INFINITY) <= given.targetLoss)

  let restored = 0
  for (const loss of given.losses) {
    while (hours < loss.hours && !isOver()) goOn(loss.hours)
    if (isOver()) break
    // A loss right after a recovery costs no further progress.
    const back = progress > restored ? Math.min(progress, backTo(progress)) : progress
    met.push({ loss, iteration: wholeOf(made), lost: progress - back })
    progress = back
    restored = back
    hours = Math.max(hours, loss.hours + recoveryHours)
  }
  while (!isOver()) goOn(Number.POSITIVE_INFINITY)
  return { iterations: wholeOf(made), progress, hours, curve, met }
}

/**
 * Gives the progress of the last checkpoint, with a checkpoint after every so many iterations. An iteration that ends at
 * the moment of the loss was not saved.
 */
export function toLastCheckpoint(every: number): (progress: number) => number {
  return (progress) => Math.max(0, Math.ceil(progress / every - WHOLE) - 1) * every
}

/** Tolerance in iterations within which an iteration counts as complete. */
const WHOLE = 1e-6

function wholeOf(made: number): number {
  return Math.floor(made + WHOLE)
}
