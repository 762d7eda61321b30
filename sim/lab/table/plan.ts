/** Plans the trials that a table needs, and their order. */
import { type Case, UNDISTURBED } from '../strategies.ts'
import type { SCALES } from './scales.ts'
import { keyOf, type Trial } from './trial.ts'

export interface Extent {
  readonly scale: keyof typeof SCALES
  readonly cases: readonly Case[]
  readonly seeds: readonly number[]
  /** Rates to play, if a row has them. A row without failures is always played. */
  readonly rates: readonly number[]
  readonly steps: number
}

export function trialOf({ scale, steps }: Extent, row: Case, rate: number, seed: number): Trial {
  const { recovery, replicas, edgesExempt = false } = row
  return { scale, steps, seed, rate, edgesExempt, recovery, ...(replicas && { replicas }) }
}

/** A short undisturbed run that measures the cost of the row while nothing fails. */
export function calmTrialOf(extent: Extent, row: Case): Trial {
  return trialOf({ ...extent, steps: SHORT_STEPS }, row, 0, extent.seeds[0]!)
}

/** The same run with many losses, for the comparison with a replay. */
export function roughTrialOf(extent: Extent, row: Case): Trial {
  return trialOf({ ...extent, steps: SHORT_STEPS }, row, ROUGH_RATE, extent.seeds[0]!)
}

/** Number of steps of a short run. Losses begin after 50 iterations. */
const SHORT_STEPS = 64
const ROUGH_RATE = 0.05

export function ratesOf({ rates }: Extent, row: Case): number[] {
  return row.rates.filter((rate) => rate === 0 || rates.includes(rate))
}

/** Each trial once, seed by seed, so that a table of all rows exists after the first seed. */
export function trialsOf(extent: Extent): Trial[] {
  const { cases, seeds } = extent
  const played = [UNDISTURBED, ...cases].filter(({ replay }) => replay === undefined)
  const trials = seeds.flatMap((seed) =>
    played.flatMap((row) => ratesOf(extent, row).map((rate) => trialOf(extent, row, rate, seed))),
  )
  const calm = [UNDISTURBED, ...cases].map((row) => calmTrialOf(extent, row))
  const replayed = cases.filter(({ replay }) => replay !== undefined)
  const rough = replayed.map((row) => roughTrialOf(extent, row))
  const byKey = new Map([...trials, ...calm, ...rough].map((trial) => [keyOf(trial), trial]))
  return [...byKey.values()]
}
