/** Numbers as people read them: few digits, a unit that fits, and no more precision than the margin allows. */

const MINUS = '−'

/** With so many decimals, and a real minus sign. */
function fixed(value: number, decimals: number): string {
  const text = value.toFixed(decimals)
  if (Number(text) === 0) return text.replace('-', '')
  return text.replace('-', MINUS)
}

/** With so many digits that count, thousands apart by a thin space, and never an exponent. */
export function significant(value: number, digits = 3): string {
  return grouped(fixed(value, decimalsFor(value, digits)))
}

interface Measured {
  readonly mean: number
  /** Half a confidence interval; null if it is not known. */
  readonly margin: number | null
}

/** `3.21 ± 0.12`: two digits of the margin, the mean to the same place; three digits of the mean if there is no margin. */
export function withMargin({ mean, margin }: Measured): string {
  if (margin === null || !Number.isFinite(margin)) return significant(mean)
  if (margin <= ROUNDING * Math.abs(mean)) return `${significant(mean)} ± 0`
  // Beyond four digits of the mean nobody reads, unless all of the margin is there.
  const enough = Math.max(
    decimalsFor(mean, 4),
    Math.min(decimalsFor(margin, 1), decimalsFor(mean, 6)),
  )
  const decimals = Math.min(decimalsFor(margin, 2), enough)
  return `${grouped(fixed(mean, decimals))} ± ${grouped(fixed(margin, decimals))}`
}

/** A margin that is nothing but this share of the mean was left over by sums that should have cancelled. */
const ROUNDING = 1e-9

/** Decimals that leave so many digits that count; none for large numbers. */
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

/** A unit, and how many of it are one of what numbers are stored in. */
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

/** For numbers of hours up to this one: the largest unit of which it is several. */
export function timeUnit(hours: number): Unit {
  return unitFor(TIME_UNITS, hours, 3)
}

/** For numbers of bytes up to this one. */
export function byteUnit(bytes: number): Unit {
  return unitFor(BYTE_UNITS, bytes, 1)
}

function unitFor(units: readonly Unit[], largest: number, atLeast: number): Unit {
  return units.find(({ perStored }) => largest * perStored >= atLeast) ?? units.at(-1)!
}

/** In another unit than the stored one. */
export function inUnit({ mean, margin }: Measured, { perStored }: Unit): Measured {
  return { mean: mean * perStored, margin: margin === null ? null : margin * perStored }
}

/** One amount by itself, in the unit that fits it. */
export function hoursText(hours: number): string {
  const unit = timeUnit(hours)
  return `${significant(hours * unit.perStored)} ${unit.name}`
}

export function bytesText(bytes: number): string {
  const unit = byteUnit(bytes)
  return `${significant(bytes * unit.perStored)} ${unit.name}`
}

/** With spaces that no line ends at before a unit and around a margin. */
export function unbroken(text: string): string {
  return text.replace(/ ± | (?=(?:h|min|s|days|%)(?![\w]))/g, (each) =>
    each.replaceAll(' ', '\u00a0'),
  )
}

/** `a, b and c`. */
export function listed(names: readonly string[], last = 'and'): string {
  if (names.length < 2) return names.join('')
  return `${names.slice(0, -1).join(', ')} ${last} ${names.at(-1)}`
}
