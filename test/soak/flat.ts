/** The rule by which a series of measurements counts as flat. */
import { median } from '../../sim/lab/statistics.ts'

export interface Sample {
  readonly hours: number
  readonly value: number
}

export interface FlatRule {
  /** Hours at the beginning that do not count. */
  readonly from: number
  /** Largest rise that is no growth, whatever the level: the resolution of the measurement. */
  readonly slack: number
}

/** Largest rise that is no growth, as a share of the level. */
const SHARE = 0.1

export interface FlatVerdict {
  readonly isFlat: boolean
  /** Median of the first third and of the last third of the samples that count. */
  readonly first: number
  readonly last: number
}

/**
 * A series is flat if the median of its last third is at most 10 % or the slack above that of its first third. Medians leave out
 * single peaks.
 * @throws Error if fewer than three samples count
 */
export function judgeFlat(samples: readonly Sample[], { from, slack }: FlatRule): FlatVerdict {
  const values = samples.filter(({ hours }) => hours >= from).map(({ value }) => value)
  const third = Math.floor(values.length / 3)
  if (third === 0) throw new Error(`only ${values.length} samples count: at least 3 are needed`)
  const [first, last] = [median(values.slice(0, third)), median(values.slice(-third))]
  return { isFlat: last - first <= Math.max(SHARE * first, slack), first, last }
}

/** Judges a series that may rise, but has a bound: a journal, of which the oldest part is removed. */
export function judgeBound(samples: readonly Sample[], rule: FlatRule, bound: number): FlatVerdict {
  const isFlat = samples.every(({ value }) => value <= bound)
  return { ...judgeFlat(samples, rule), isFlat }
}

/** A measured quantity: its name, its unit and its slack. */
export interface Quantity {
  readonly name: string
  /** Divisor for the table. */
  readonly unit: number
  readonly slack: number
}

const MEGABYTE = 1e6

/** The quantities of a soak, by the key of a sample. */
export const QUANTITIES = {
  heap: { name: 'heap after gc, MB', unit: MEGABYTE, slack: 3 * MEGABYTE },
  rss: { name: 'resident, MB', unit: MEGABYTE, slack: 30 * MEGABYTE },
  descriptors: { name: 'open descriptors', unit: 1, slack: 4 },
  timers: { name: 'timers', unit: 1, slack: 10 },
  connections: { name: 'connections', unit: 1, slack: 4 },
  journal: { name: 'journal, MB', unit: MEGABYTE, slack: 0.2 * MEGABYTE },
} as const satisfies Record<string, Quantity>

export type QuantityName = keyof typeof QUANTITIES

/** One line of the table of a soak. */
export function lineOf(
  who: string,
  key: QuantityName,
  { isFlat, first, last }: FlatVerdict,
): string {
  const { name, unit } = QUANTITIES[key]
  const cell = (value: number) => (value / unit).toFixed(unit === 1 ? 0 : 2).padStart(10)
  return `${who.padEnd(10)} ${name.padEnd(20)}${cell(first)}${cell(last)}  ${isFlat ? 'flat' : 'GROWS'}`
}
