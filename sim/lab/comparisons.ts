/** Two strategies held against each other seed by seed, since they meet the same failures under a seed. */

import type { Claim, Results, TrialResult } from './results.ts'
import { type Estimate, estimate } from './statistics.ts'

export type Measure = (trial: TrialResult) => number | null

/** Mean held-out loss of the last quarter of its iterations: a single evaluation is half noise. */
export const lateLoss: Measure = ({ curve, iterations, failure }) => {
  // It ended early, in a quarter that is nobody else's last.
  if (failure !== null) return null
  const late = curve
    .filter(([iteration]) => iteration > 0.75 * iterations)
    .map(([, , loss]) => loss)
  return late.length === 0 ? null : estimate(late).mean
}
export const hours: Measure = ({ reached }) => reached?.hours ?? null
export const iterations: Measure = ({ reached }) => reached?.iterations ?? null
/** Until the target: where all runs have evaluated what they evaluate. */
export const secondsPerIteration: Measure = ({ reached }) =>
  reached === null ? null : (reached.hours * 3_600) / reached.iterations

/** Over the seeds in which both have a value. */
export interface Comparison extends Estimate {
  /** Seeds in which one of them has a value and the other, which did not get there, has none. */
  readonly missedByOne: number
  readonly missedByOther: number
}

type Asked = [results: Results, failures: string, one: string, other: string, measure: Measure]

export function trialsOf({ trials }: Results, failures: string, strategy: string): TrialResult[] {
  return trials.filter((trial) => trial.failures === failures && trial.strategy === strategy)
}

/** By seed, of those in which both were played. */
function pairs(...[results, failures, one, other, measure]: Asked) {
  return trialsOf(results, failures, one).flatMap((trial) => {
    const beside = trialsOf(results, failures, other).find(({ seed }) => seed === trial.seed)
    return beside === undefined ? [] : [[measure(trial), measure(beside)] as const]
  })
}

function compare(asked: Asked, by: (one: number, other: number) => number): Comparison {
  const all = pairs(...asked)
  const values = all.flatMap(([a, b]) => (a === null || b === null ? [] : [by(a, b)]))
  return {
    ...estimate(values),
    missedByOne: all.filter(([a, b]) => a === null && b !== null).length,
    missedByOther: all.filter(([a, b]) => a !== null && b === null).length,
  }
}

/** Of one less the other. */
export function difference(...asked: Asked): Comparison {
  return compare(asked, (a, b) => a - b)
}

/** Of one over the other. */
export function ratio(...asked: Asked): Comparison {
  return compare(asked, (a, b) => a / b)
}

/**
 * True if all of the interval is on the side that is claimed, false if on the other, null if it is on both. Who missed the
 * target in a seed needed more than whoever did not: seeds of which that alone is known must not say the contrary, and two of
 * them are enough where there are no others.
 */
export function side(value: Estimate | Comparison, border: number, below: boolean): boolean | null {
  const { mean, margin, count } = value
  const { missedByOne, missedByOther } = { missedByOne: 0, missedByOther: 0, ...value }
  const isBelow = count > 0 ? mean + margin < border : missedByOther > 1
  const isAbove = count > 0 ? mean - margin > border : missedByOne > 1
  if (isBelow && missedByOne === 0) return below
  if (isAbove && missedByOther === 0) return !below
  return null
}

export function verdictOf(sides: readonly (boolean | null)[]): Pick<Claim, 'verdict' | 'why'> {
  if (sides.length === 0) return { verdict: 'not decidable', why: 'nothing was played' }
  const wrong = sides.filter((each) => each === false).length
  const open = sides.filter((each) => each === null).length
  if (wrong > 0) {
    return { verdict: 'not held', why: `${wrong} of ${sides.length} comparisons show the contrary` }
  }
  if (open > 0) {
    return {
      verdict: 'not decidable',
      why: `${open} of ${sides.length} comparisons are undecided`,
    }
  }
  return { verdict: 'held', why: `all of ${sides.length} comparisons, at 95 %` }
}
