/** From numbers to places on a chart, and the round numbers that its axis names. */

/** A place for each number of a domain, evenly. */
export interface Scale {
  readonly domain: readonly [from: number, to: number]
  readonly at: (value: number) => number
}

export function scale(
  domain: readonly [from: number, to: number],
  range: readonly [from: number, to: number],
): Scale {
  const [from, to] = domain
  const [start, end] = range
  const span = to - from || 1
  return { domain, at: (value) => start + ((value - from) / span) * (end - start) }
}

export interface Tick {
  readonly value: number
  readonly label: string
}

/**
 * Multiples of 1, 2 or 5 times a power of ten within the domain, about `about` of them, each with the decimals that tell
 * it from the next.
 */
export function ticks([from, to]: readonly [from: number, to: number], about = 5): Tick[] {
  const step = roundStep(to - from, about)
  const [first, last] = [Math.ceil(from / step - ROUNDING), Math.floor(to / step + ROUNDING)]
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + ROUNDING))
  return Array.from({ length: last - first + 1 }, (_, i) => {
    const value = Number(((first + i) * step).toFixed(decimals))
    return { value, label: labelOf(value, decimals) }
  })
}

/** The domain widened to ticks, so that an axis begins and ends with one. */
export function rounded(
  [from, to]: readonly [from: number, to: number],
  about = 5,
): [from: number, to: number] {
  if (from === to) return from === 0 ? [0, 1] : rounded([Math.min(from, 0), Math.max(to, 0)], about)
  const step = roundStep(to - from, about)
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + ROUNDING))
  const outward = (value: number) => Number((value * step).toFixed(decimals))
  return [outward(Math.floor(from / step + ROUNDING)), outward(Math.ceil(to / step - ROUNDING))]
}

/** What is lost of a quotient that should be whole. */
const ROUNDING = 1e-9

/** 10 is there for quotients just above 5. */
const STEPS = [1, 2, 5, 10]

function roundStep(span: number, about: number): number {
  const rough = (span || 1) / about
  const power = 10 ** Math.floor(Math.log10(rough))
  return STEPS.find((each) => each * power >= rough * (1 - ROUNDING))! * power
}

const THOUSAND = 1e3
const MILLION = 1e6

function labelOf(value: number, decimals: number): string {
  const size = Math.abs(value)
  if (size >= MILLION && value % (MILLION / 10) === 0)
    return `${value / MILLION}M`.replace('-', '−')
  if (size >= 10 * THOUSAND && value % (THOUSAND / 10) === 0) {
    return `${value / THOUSAND}k`.replace('-', '−')
  }
  return value.toFixed(decimals).replace('-', '−')
}
