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

export interface Ticks {
  readonly domain: readonly [from: number, to: number]
  readonly ticks: readonly Tick[]
}

/**
 * Multiples of 1, 2 or 5 times a power of ten within the domain, about `about` of them, each with the decimals that tell
 * it from the next.
 */
export function ticksWithin(domain: Ticks['domain'], about = 5): Ticks {
  const [from, to] = domain
  const step = roundStep(to - from, about)
  return {
    domain,
    ticks: multiples(step, Math.ceil(from / step - ROUNDING), Math.floor(to / step + ROUNDING)),
  }
}

/** The same for the domain widened to the next ticks, so that the axis begins and ends with one. */
export function ticksAround([from, to]: Ticks['domain'], about = 5): Ticks {
  const step = roundStep(to - from, about)
  const [first, last] = [Math.floor(from / step + ROUNDING), Math.ceil(to / step - ROUNDING)]
  const ticks = multiples(step, first, Math.max(first + 1, last))
  return { domain: [ticks[0]!.value, ticks.at(-1)!.value], ticks }
}

function multiples(step: number, first: number, last: number): Tick[] {
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + ROUNDING))
  return Array.from({ length: last - first + 1 }, (_, i) => {
    const value = Number(((first + i) * step).toFixed(decimals))
    return { value, label: labelOf(value, decimals) }
  })
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
