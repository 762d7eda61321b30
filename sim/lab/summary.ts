/** Summarizes the seeds of a strategy under one failure process. */

import type { Summary, TrialResult } from './results.ts'
import { estimate } from './statistics.ts'

const BYTES_PER_MEGABYTE = 1e6

/** One summary for each strategy and failure process, in the order in which the trials first name them. */
export function summarize(trials: readonly TrialResult[]): Summary[] {
  const groups = Map.groupBy(trials, ({ strategy, failures }) =>
    JSON.stringify([failures, strategy]),
  )
  return [...groups.values()].map(summaryOf)
}

function summaryOf(trials: readonly TrialResult[]): Summary {
  const { strategy, failures } = trials[0]!
  const reached = trials.flatMap((trial) => trial.reached ?? [])
  const bytes = trials.map(({ bytesPerIteration }) =>
    Object.values(bytesPerIteration).reduce((sum, each) => sum + each, 0),
  )
  return {
    strategy,
    failures,
    seeds: trials.length,
    reached: reached.length,
    hoursToTarget: estimateOf(reached.map(({ hours }) => hours)),
    iterationsToTarget: estimateOf(reached.map(({ iterations }) => iterations)),
    finalLoss: estimateOf(trials.flatMap(({ finalLoss }) => finalLoss ?? [])),
    goodput: estimateOf(trials.map(({ goodput }) => goodput))!,
    losses: estimate(trials.map(({ losses }) => losses.length)).mean,
    megabytesPerIteration: estimate(bytes).mean / BYTES_PER_MEGABYTE,
  }
}

/** Estimate in the form of JSON: null for no values, and a null margin, instead of an infinite one, for a single value. */
export function estimateOf(values: readonly number[]): Summary['goodput'] | null {
  if (values.length === 0) return null
  const { margin, ...rest } = estimate(values)
  return { ...rest, margin: Number.isFinite(margin) ? margin : null }
}
