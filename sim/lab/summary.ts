/** What the seeds of a strategy under one failure process say together. */
import { estimate } from '../strategies/statistics.ts'
import type { Summary, TrialResult } from './results.ts'

const BYTES_PER_MEGABYTE = 1e6

/** One for each strategy and failure process, in the order in which the trials first name them. */
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
    hoursToTarget: estimateOrNull(reached.map(({ hours }) => hours)),
    iterationsToTarget: estimateOrNull(reached.map(({ iterations }) => iterations)),
    finalLoss: estimateOrNull(trials.flatMap(({ finalLoss }) => finalLoss ?? [])),
    goodput: storable(trials.map(({ goodput }) => goodput)),
    losses: estimate(trials.map(({ losses }) => losses.length)).mean,
    megabytesPerIteration: estimate(bytes).mean / BYTES_PER_MEGABYTE,
  }
}

function estimateOrNull(values: readonly number[]): Summary['goodput'] | null {
  return values.length === 0 ? null : storable(values)
}

/** JSON has no infinity: the margin of one value is null. */
function storable(values: readonly number[]): Summary['goodput'] {
  const { margin, ...rest } = estimate(values)
  return { ...rest, margin: Number.isFinite(margin) ? margin : null }
}
