/** Which trials a table takes, and in which order. */
import { type Case, LOW_RATES, RATE, UNDISTURBED } from './cases.ts'
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

export const ALL_RATES: readonly number[] = [...LOW_RATES, RATE]

export function trialOf({ scale, steps }: Extent, row: Case, rate: number, seed: number): Trial {
  const { recovery, edgesExempt = false } = row
  return { scale, steps, seed, rate, edgesExempt, recovery }
}

/** Of a short undisturbed run: what the case costs while nothing fails. */
export function overheadTrialOf({ scale, seeds }: Extent, row: Case): Trial {
  const { recovery } = row
  return { scale, steps: OVERHEAD_STEPS, seed: seeds[0]!, rate: 0, edgesExempt: false, recovery }
}

const OVERHEAD_STEPS = 60

/** A real run that a replay is held against: short, with many failures. */
export function confirmingTrialOf({ scale, seeds }: Extent, row: Case): Trial {
  const { recovery } = row
  const [steps, rate] = scale === 'full' ? [120, 0.01] : [20, 0.02]
  return { scale, steps, seed: seeds[0]!, rate, edgesExempt: false, recovery }
}

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
  const overheads = [UNDISTURBED, ...cases].map((row) => overheadTrialOf(extent, row))
  const confirming = cases
    .filter(({ replay }) => replay !== undefined)
    .map((row) => confirmingTrialOf(extent, row))
  return [
    ...new Map(
      [...trials, ...overheads, ...confirming].map((trial) => [keyOf(trial), trial]),
    ).values(),
  ]
}
