/** One line with a band out of the curves of several seeds. */
import { type Point, valueAt } from '../statistics.ts'
import { estimateOf } from '../summary.ts'

export interface BandPoint {
  readonly x: number
  readonly mean: number
  /** Half the width of the 95 % confidence interval; null for one seed. */
  readonly margin: number | null
}

/** Enough for a line that looks smooth at the width of a page. */
const MOST_POINTS = 160

/**
 * Wherever a seed was evaluated, as far as all seeds go: where one of them ends the mean would jump. The others are
 * interpolated there.
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

/** Evenly, with the first and the last. */
function thinned(places: readonly number[]): number[] {
  const every = Math.max(1, (places.length - 1) / (MOST_POINTS - 1))
  const count = Math.min(places.length, MOST_POINTS)
  return Array.from({ length: count }, (_, i) => places[Math.round(i * every)]!)
}
