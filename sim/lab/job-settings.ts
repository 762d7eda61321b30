/** Converts settings of a scenario into the form that the simulator takes. */
import { type Costs, DEFAULT_COSTS } from '../scenario.ts'
import type { Link } from '../world/wire.ts'
import type { Scenario } from './scenario.ts'

/** Milliseconds of virtual time of each method of a stage. */
export function costsOf({
  forwardMs,
  backwardMs,
  endsMs,
  updateMs,
  startMs,
}: Scenario['compute']): Costs {
  return {
    ...DEFAULT_COSTS,
    build: startMs,
    forward: forwardMs,
    forwardKeeping: forwardMs,
    backward: backwardMs,
    lossAndGradient: endsMs,
    loss: endsMs / 2,
    update: updateMs,
  }
}

/** Links between the peers of two slots, by their regions. */
export function linksOf({ regions, within, between }: Scenario['network']) {
  const link = ({ latencyMs, mbitPerSecond }: typeof within): Link => ({
    latencyMs,
    bytesPerMs: mbitPerSecond * 125,
  })
  const far = (named: (typeof between)[number]): Link =>
    named.shared ? { ...link(named), queue: named.regions.join(' - ') } : link(named)
  const near = link(within)
  const table = regions.map((from) =>
    regions.map((to) => {
      const named = between.find(
        ({ regions: [a, b] }) => (a === from && b === to) || (a === to && b === from),
      )
      return named === undefined ? near : far(named)
    }),
  )
  const { length } = regions
  return (from: number, to: number) => table[from % length]![to % length]!
}

/** Flattens nested settings: `{ model: { layers: 6 } }` becomes `{ 'model.layers': 6 }`. */
export function flat(settings: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(settings).flatMap(([name, value]) => {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        return [[name, value]]
      }
      return Object.entries(value).map(([inner, each]) => [`${name}.${inner}`, each])
    }),
  )
}
