/** Maps numbers to places on a chart and chooses the round numbers of its axis. */

/** Linear map from the numbers of a domain to places on a chart. */
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
 * About `about` ticks within the domain: multiples of 1, 2 or 5 times a power of ten.
 * The label of a tick has just enough decimals to distinguish it from the next one.
 */
export function ticksWithin(domain: Ticks['domain'], about = 5): Ticks {
  const [from, to] = domain
  const step = roundStep(to - from, about)
  return {
    domain,
    ticks: multiples(step, Math.ceil(from / step - ROUNDING), Math.floor(to / step + ROUNDING)),
  }
}

/** Ticks of the domain, widened so that the axis begins and ends with a tick. */
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

/** Rounding error allowed in a quotient that should be a whole number. */
const ROUNDING = 1e-9

/** Factors of a round step; 10 is for quotients just above 5. */
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
