/** Combines the curves of several seeds into one mean line with a confidence band. */
import { type Point, valueAt } from '../statistics.ts'
import { estimateOf } from '../summary.ts'

export interface BandPoint {
  readonly x: number
  readonly mean: number
  /** Half the width of the 95 % confidence interval; null for one seed. */
  readonly margin: number | null
}

/** Largest number of points of a line: with so many it looks smooth at the width of a page. */
const MOST_POINTS = 160

/**
 * Mean and margin at each place where some seed was evaluated; the other seeds are interpolated there.
 * The line covers only the range that all seeds cover, because the mean would jump where a seed ends.
 */
export function bandOf(curves: readonly (readonly Point[])[]): BandPoint[] {
  const evaluated = curves.filter((curve) => curve.length > 0)
  if (evaluated.length === 0) return []
  const from = Math.max(...evaluated.map((curve) => curve[0]![0]))
  const to = Math.min(...evaluated.map((curve) => curve.at(-1)![0]))
  const places = [...new Set(evaluated.flatMap((curve) => curve.map(([x]) => x)))]
    .filter((x) => x >= from && x <= to)
    .sort((a, b) => a - b)
  return thinned(places).map((x) => {
    const { mean, margin } = estimateOf(evaluated.map((curve) => valueAt(curve, x)))!
    return { x, mean, margin }
  })
}

/** At most `MOST_POINTS` evenly spaced places, including the first and the last. */
function thinned(places: readonly number[]): number[] {
  const every = Math.max(1, (places.length - 1) / (MOST_POINTS - 1))
  const count = Math.min(places.length, MOST_POINTS)
  return Array.from({ length: count }, (_, i) => places[Math.round(i * every)]!)
}
