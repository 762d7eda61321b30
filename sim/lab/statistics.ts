/** Means, medians and confidence intervals of a few values. */

export interface Estimate {
  readonly mean: number
  /** Half the width of the 95 % confidence interval; infinite for one value. */
  readonly margin: number
  readonly count: number
}

/** Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom. */
const T95 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145,
  2.131, 2.12, 2.11, 2.101, 2.093,
]

export function estimate(values: readonly number[]): Estimate {
  const count = values.length
  const mean = values.reduce((sum, value) => sum + value, 0) / count
  if (count < 2) return { mean, margin: Number.POSITIVE_INFINITY, count }
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  const t = T95[Math.min(count - 1, T95.length) - 1]!
  return { mean, margin: t * Math.sqrt(squares / (count - 1) / count), count }
}

/**
 * The median. On a shared machine it is a better estimate of a duration than the mean, since other work makes some values
 * longer.
 */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Pearson's correlation of pairs; NaN if all first or all second values are equal. */
export function correlation(pairs: readonly (readonly [number, number])[]): number {
  const xs = pairs.map(([x]) => x)
  const ys = pairs.map(([, y]) => y)
  return covariance(xs, ys) / Math.sqrt(covariance(xs, xs) * covariance(ys, ys))
}

function covariance(xs: readonly number[], ys: readonly number[]): number {
  const { mean: x } = estimate(xs)
  const { mean: y } = estimate(ys)
  return xs.reduce((sum, each, i) => sum + (each - x) * (ys[i]! - y), 0) / xs.length
}

/** A point of a curve: the loss after a number of steps. */
export type Point = readonly [step: number, loss: number]

/** The value of a curve, interpolated between its points. Outside the points it is the value of the nearest end. */
export function valueAt(curve: readonly Point[], step: number): number {
  const next = curve.findIndex(([at]) => at >= step)
  if (next === -1) return curve.at(-1)![1]
  const [to, after] = curve[next]!
  if (next === 0 || to === step) return after
  const [from, before] = curve[next - 1]!
  return before + ((after - before) * (step - from)) / (to - from)
}

/** Steps at which a curve first reaches `target`, interpolated between its points; null if it never does. */
export function stepsTo(curve: readonly Point[], target: number): number | null {
  const reached = curve.findIndex(([, loss]) => loss <= target)
  if (reached === -1) return null
  const [to, after] = curve[reached]!
  if (reached === 0) return to
  const [from, before] = curve[reached - 1]!
  return from + ((to - from) * (before - target)) / (before - after)
}
