/** Which trials a table takes, and in which order. */
import { type Case, UNDISTURBED } from './cases.ts'
import type { SCALES } from './scales.ts'
import { keyOf, type Trial } from './trial.ts'

export interface Extent {
  readonly scale: keyof typeof SCALES
  readonly cases: readonly Case[]
  readonly seeds: readonly number[]
  /** Of those that a case names, the ones that are played; a case without failures always is. */
  readonly rates: readonly number[]
  readonly steps: number
}

export function trialOf({ scale, steps }: Extent, row: Case, rate: number, seed: number): Trial {
  const { recovery, revision, replicas, edgesExempt = false } = row
  const more = { ...(revision && { revision }), ...(replicas && { replicas }) }
  return { scale, steps, seed, rate, edgesExempt, recovery, ...more }
}

/** Of a short undisturbed run: what the case costs while nothing fails. */
export function calmTrialOf(extent: Extent, row: Case): Trial {
  return trialOf({ ...extent, steps: SHORT_STEPS }, row, 0, extent.seeds[0]!)
}

/** The same run with many failures, which a replay is held against. */
export function roughTrialOf(extent: Extent, row: Case): Trial {
  return trialOf({ ...extent, steps: SHORT_STEPS }, row, ROUGH_RATE, extent.seeds[0]!)
}

/** Failures begin after 50. */
const SHORT_STEPS = 60
const ROUGH_RATE = 0.05

export function ratesOf({ rates }: Extent, row: Case): number[] {
  return row.rates.filter((rate) => rate === 0 || rates.includes(rate))
}

/** Each once, seed by seed: with the first seed there is a table of all rows. */
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
