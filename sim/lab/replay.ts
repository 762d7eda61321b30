/**
 * What needs no training: walks along the curve of a run that nothing disturbed. A loss may set it back by some iterations
 * and takes its time; all else is as if nothing had happened.
 */
import { type Point, valueAt } from '../strategies/statistics.ts'
import type { Loss } from './failures/loss.ts'

export interface Walk {
  /** Held-out loss after so many iterations, from 0 on. */
  readonly curve: readonly Point[]
  readonly losses: readonly Loss[]
  /** Of an iteration. */
  readonly seconds: number
  /** Of a recovery, in which nothing is trained. */
  readonly recoverySeconds: number
  /** The iteration that a loss takes it back to. */
  readonly backTo: (iteration: number) => number
  /** Iterations between two looks at the loss. */
  readonly everySteps: number
  readonly iterationsMax: number
  readonly hoursMax: number
  /** Where it ends; null goes on. */
  readonly targetLoss: number | null
}

export interface Walked {
  readonly iterations: number
  readonly hours: number
  readonly curve: [iterations: number, hours: number, loss: number][]
  /** Losses that were met, each with the iterations that were lost. */
  readonly met: { loss: Loss; hours: number; iteration: number; lost: number }[]
}

const HOUR = 3_600

/** A loss in the middle of an iteration is met at its end, as one between two of them. */
export function walk(given: Walk): Walked {
  const { seconds, recoverySeconds, backTo, everySteps, iterationsMax, hoursMax } = given
  const curve: Walked['curve'] = []
  const met: Walked['met'] = []
  const waiting = [...given.losses]
  let hours = 0
  let at = 0
  let iterations = 0
  while (iterations < iterationsMax && hours < hoursMax) {
    hours += seconds / HOUR
    iterations++
    at++
    if (iterations % everySteps === 0) {
      const loss = valueAt(given.curve, at)
      curve.push([iterations, hours, loss])
      if (given.targetLoss !== null && loss <= given.targetLoss) break
    }
    for (let loss = waiting[0]; loss !== undefined && loss.hours <= hours; loss = waiting[0]) {
      waiting.shift()
      hours += recoverySeconds / HOUR
      const back = Math.min(at, backTo(at))
      met.push({ loss, hours, iteration: iterations, lost: at - back })
      at = back
    }
  }
  return { iterations, hours, curve, met }
}
