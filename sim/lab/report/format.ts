/** Formats numbers for readers: few digits, a fitting unit, and no more precision than the margin allows. */

const MINUS = '−'

/** Number with the given count of decimals and a typographic minus sign. */
function fixed(value: number, decimals: number): string {
  const text = value.toFixed(decimals)
  if (Number(text) === 0) return text.replace('-', '')
  return text.replace('-', MINUS)
}

/** Number with the given count of significant digits, a thin space between thousands, and no exponent. */
export function significant(value: number, digits = 3): string {
  return grouped(fixed(value, decimalsFor(value, digits)))
}

interface Measured {
  readonly mean: number
  /** Half of the confidence interval; null if it is unknown. */
  readonly margin: number | null
}

/**
 * Text such as `3.21 ± 0.12`: the margin with two digits, the mean to the same decimal place.
 * Without a margin the mean has three digits.
 */
export function withMargin({ mean, margin }: Measured): string {
  if (margin === null || !Number.isFinite(margin)) return significant(mean)
  if (margin <= ROUNDING * Math.abs(mean)) return `${significant(mean)} ± 0`
  // Four digits of the mean are enough, unless the margin needs up to six.
  const enough = Math.max(
    decimalsFor(mean, 4),
    Math.min(decimalsFor(margin, 1), decimalsFor(mean, 6)),
  )
  const decimals = Math.min(decimalsFor(margin, 2), enough)
  return `${grouped(fixed(mean, decimals))} ± ${grouped(fixed(margin, decimals))}`
}

/** Share of the mean below which a margin is only the rounding error of sums that should cancel. */
const ROUNDING = 1e-9

/** Number of decimals that gives the wanted significant digits; 0 for large numbers. */
function decimalsFor(value: number, digits: number): number {
  if (value === 0) return 0
  const magnitude = Math.floor(Math.log10(Math.abs(Number(value.toPrecision(digits)))))
  return Math.min(12, Math.max(0, digits - 1 - magnitude))
}

function grouped(text: string): string {
  const [whole, fraction] = text.split('.')
  const apart = whole!.length > 4 ? whole!.replace(/\B(?=(\d{3})+$)/g, '\u202f') : whole!
  return fraction === undefined ? apart : `${apart}.${fraction}`
}

/** A unit and its factor: `perStored` of it equal one stored unit (an hour or a byte). */
export interface Unit {
  readonly name: string
  readonly perStored: number
}

const TIME_UNITS: readonly Unit[] = [
  { name: 'days', perStored: 1 / 24 },
  { name: 'h', perStored: 1 },
  { name: 'min', perStored: 60 },
  { name: 's', perStored: 3600 },
]

const BYTE_UNITS: readonly Unit[] = [
  { name: 'TB', perStored: 1e-12 },
  { name: 'GB', perStored: 1e-9 },
  { name: 'MB', perStored: 1e-6 },
  { name: 'kB', perStored: 1e-3 },
  { name: 'bytes', perStored: 1 },
]

/** Unit for times up to `hours`: the largest unit of which this is at least three; hours for 0. */
export function timeUnit(hours: number): Unit {
  return hours === 0 ? TIME_UNITS[1]! : unitFor(TIME_UNITS, hours, 3)
}

/** Unit for sizes up to `bytes`: the largest unit of which this is at least one. */
export function byteUnit(bytes: number): Unit {
  return unitFor(BYTE_UNITS, bytes, 1)
}

function unitFor(units: readonly Unit[], largest: number, atLeast: number): Unit {
  return units.find(({ perStored }) => largest * perStored >= atLeast) ?? units.at(-1)!
}

/** Converts a stored value and its margin into `unit`. */
export function inUnit({ mean, margin }: Measured, { perStored }: Unit): Measured {
  return { mean: mean * perStored, margin: margin === null ? null : margin * perStored }
}

/** A time in the unit that fits it. */
export function hoursText(hours: number): string {
  const unit = timeUnit(hours)
  return `${significant(hours * unit.perStored)} ${unit.name}`
}

/** A size in the unit that fits it. */
export function bytesText(bytes: number): string {
  const unit = byteUnit(bytes)
  return `${significant(bytes * unit.perStored)} ${unit.name}`
}

/** Text with no-break spaces before a unit and around a margin. */
export function unbroken(text: string): string {
  return text.replace(/ ± | (?=(?:h|min|s|days|%)(?![\w]))/g, (each) =>
    each.replaceAll(' ', '\u00a0'),
  )
}

/** Names as a list in words, for example `a, b and c`. */
export function listed(names: readonly string[], last = 'and'): string {
  if (names.length < 2) return names.join('')
  return `${names.slice(0, -1).join(', ')} ${last} ${names.at(-1)}`
}
