/** Two strategies held against each other seed by seed, since they meet the same failures under a seed. */
import { type Estimate, estimate } from '../strategies/statistics.ts'
import type { Claim, Results, TrialResult } from './results.ts'

export type Measure = (trial: TrialResult) => number | null

export const finalLoss: Measure = (trial) => trial.finalLoss
export const hours: Measure = ({ reached }) => reached?.hours ?? null
export const iterations: Measure = ({ reached }) => reached?.iterations ?? null
export const secondsPerIteration: Measure = (trial) => (trial.hours * 3_600) / trial.iterations

/** By seed, of those in which both have a value. */
export function pairs(
  { trials }: Results,
  failures: string,
  one: string,
  other: string,
  measure: Measure,
): Map<number, readonly [number, number]> {
  const of = (strategy: string) =>
    trials.filter((trial) => trial.failures === failures && trial.strategy === strategy)
  const found = new Map<number, readonly [number, number]>()
  for (const trial of of(one)) {
    const beside = of(other).find(({ seed }) => seed === trial.seed)
    const [a, b] = [measure(trial), beside === undefined ? null : measure(beside)]
    if (a !== null && b !== null) found.set(trial.seed, [a, b])
  }
  return found
}

/** Of one less the other. */
export function difference(...asked: Parameters<typeof pairs>): Estimate {
  return estimate([...pairs(...asked).values()].map(([a, b]) => a - b))
}

/** Of one over the other. */
export function ratio(...asked: Parameters<typeof pairs>): Estimate {
  return estimate([...pairs(...asked).values()].map(([a, b]) => a / b))
}

/** True if all of the interval is on the side that is claimed, false if on the other, null if it is on both. */
export function side(value: Estimate, border: number, below: boolean): boolean | null {
  if (value.mean + value.margin < border) return below
  if (value.mean - value.margin > border) return !below
  return null
}

export function verdictOf(sides: readonly (boolean | null)[]): Pick<Claim, 'verdict' | 'why'> {
  if (sides.length === 0) return { verdict: 'not decidable', why: 'nothing was played to compare' }
  const wrong = sides.filter((each) => each === false).length
  const open = sides.filter((each) => each === null).length
  if (wrong > 0) {
    return { verdict: 'not held', why: `${wrong} of ${sides.length} comparisons say the contrary` }
  }
  if (open > 0) {
    return {
      verdict: 'not decidable',
      why: `${open} of ${sides.length} intervals do not tell, or the target was not reached`,
    }
  }
  return { verdict: 'held', why: `all of ${sides.length} comparisons, at 95 %` }
}
