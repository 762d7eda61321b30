/**
 * What needs no training: walks along the curve of a run that nothing disturbed. A loss may set it back and takes its
 * time; all else is as if nothing had happened.
 */

import type { Loss } from './failures/loss.ts'
import { type Point, valueAt } from './statistics.ts'

export interface Walk {
  /** Held-out loss after so many iterations, from 0 on. */
  readonly curve: readonly Point[]
  /** In the order of their hours. */
  readonly losses: readonly Loss[]
  /** Of an iteration. */
  readonly seconds: number
  /** Of a recovery, in which nothing is trained; another loss meanwhile begins it anew. */
  readonly recoverySeconds: number
  /** Where a loss takes it back to. Progress is in iterations, and need not be whole. */
  readonly backTo: (progress: number) => number
  /** Iterations between two looks at the loss. */
  readonly everySteps: number
  readonly iterationsMax: number
  readonly hoursMax: number
  /** Where it ends; null goes on. */
  readonly targetLoss: number | null
}

export interface Walked {
  /** Made, those counted again that were made again. */
  readonly iterations: number
  /** Where it has come. */
  readonly progress: number
  readonly hours: number
  readonly curve: [iterations: number, hours: number, loss: number][]
  readonly met: Met[]
}

/** A loss, and the progress that it cost. */
interface Met {
  readonly loss: Loss
  /** The last one that was made. */
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
  /** Until the next look at the loss, or the end; or until `hour`, if that comes first. */
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
    // What nothing has been added to since it was restored is still there.
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
 * To the last checkpoint, one every so many iterations. What ends with the loss has not been saved any more.
 */
export function toLastCheckpoint(every: number): (progress: number) => number {
  return (progress) => Math.max(0, Math.ceil(progress / every - WHOLE) - 1) * every
}

/** So near to its end an iteration is whole. */
const WHOLE = 1e-6

function wholeOf(made: number): number {
  return Math.floor(made + WHOLE)
}
