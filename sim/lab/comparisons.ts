/** Compares two strategies seed by seed, since strategies meet the same failures under the same seed. */

import type { Claim, Results, TrialResult } from './results.ts'
import { type Estimate, estimate } from './statistics.ts'

export type Measure = (trial: TrialResult) => number | null

/** Mean held-out loss of the last quarter of the iterations. A single evaluation is half noise. */
export const lateLoss: Measure = ({ curve, iterations, failure }) => {
  // A run that ended early has a last quarter at other iterations than the other runs.
  if (failure !== null) return null
  const late = curve
    .filter(([iteration]) => iteration > 0.75 * iterations)
    .map(([, , loss]) => loss)
  return late.length === 0 ? null : estimate(late).mean
}
export const hours: Measure = ({ reached }) => reached?.hours ?? null
export const iterations: Measure = ({ reached }) => reached?.iterations ?? null
/** Seconds for each iteration until the target. All runs have made the same evaluations until then. */
export const secondsPerIteration: Measure = ({ reached }) =>
  reached === null ? null : (reached.hours * 3_600) / reached.iterations

/** Difference or ratio of two strategies, over the seeds in which both have a value. */
export interface Comparison extends Estimate {
  /** Number of seeds in which only the other strategy has a value, since this one did not reach the target. */
  readonly missedByOne: number
  readonly missedByOther: number
}

type Asked = [results: Results, failures: string, one: string, other: string, measure: Measure]

export function trialsOf({ trials }: Results, failures: string, strategy: string): TrialResult[] {
  return trials.filter((trial) => trial.failures === failures && trial.strategy === strategy)
}

/** Pairs of values by seed, for the seeds in which both strategies were played. */
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

/** Mean difference: the value of `one` less the value of `other`. */
export function difference(...asked: Asked): Comparison {
  return compare(asked, (a, b) => a - b)
}

/** Mean ratio: the value of `one` divided by the value of `other`. */
export function ratio(...asked: Asked): Comparison {
  return compare(asked, (a, b) => a / b)
}

/**
 * True if the whole interval lies on the claimed side of the border, false if on the other side, null if on both. A
 * strategy that missed the target in a seed needed more than a strategy that reached it. Such a seed must not contradict
 * the interval. If no seed has both values, two such seeds decide.
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
