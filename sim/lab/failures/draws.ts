/** Numbers of given distributions. Each takes a fixed count of draws, so that equal streams stay in step. */
import type { Random } from '../../../stages/random.ts'
import { exponential } from '../../exponential.ts'

/** @param shape 1 is exponential; below it, who is young leaves sooner than who has stayed for long */
export function weibull(mean: number, shape: number, random: Random): number {
  const scale = mean / gamma(1 + 1 / shape)
  return scale * (-Math.log(1 - random.float())) ** (1 / shape)
}

/** 1, 2, 3 ..., each half as likely as the one before when the mean is 2. Never smaller for a larger mean. */
export function geometric(mean: number, random: Random): number {
  return 1 + Math.floor(Math.log(1 - random.float()) / Math.log(1 - 1 / mean))
}

/** Lanczos' approximation with g = 7, nine terms: 15 digits for arguments of 1/2 and more. */
const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313,
  -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6,
  1.5056327351493116e-7,
]

function gamma(argument: number): number {
  const x = argument - 1
  const base = x + 7.5
  const series = LANCZOS.reduce((sum, term, i) => sum + (i === 0 ? term : term / (x + i)), 0)
  return Math.sqrt(2 * Math.PI) * base ** (x + 0.5) * Math.exp(-base) * series
}

/** Hazard an hour at which the given share has failed after one. */
export function hazardOf(rate: number): number {
  return -Math.log1p(-rate)
}

/** Hazard an hour that one layer of `thinnedHours` holds: most scenarios need one alone. */
const LAYER = 0.5

/**
 * The hours at which a Poisson process of changing hazard strikes.
 *
 * A process that dominates all others is drawn and thinned: its events lie evenly in the plane of hours and marks, and
 * those count whose mark is below the hazard of their hour. Hence what strikes at a low hazard strikes at a higher one,
 * too, at the same time (common random numbers): two rates, or two strategies at two rates, differ by the additional
 * failures alone and not by luck, and their difference needs far fewer seeds. The plane is drawn in layers, each from a
 * stream of its own, because no finite hazard dominates all rates.
 *
 * @param hazardMax an hour; what `hazardAt` never exceeds
 */
export function thinnedHours(
  random: Random,
  hours: number,
  hazardMax: number,
  hazardAt: (hour: number) => number,
): number[] {
  const struck: number[] = []
  for (let layer = 0; layer * LAYER < hazardMax; layer++) {
    const draws = random.stream(layer)
    let hour = exponential(1 / LAYER, draws)
    while (hour < hours) {
      const mark = (layer + draws.float()) * LAYER
      if (mark < hazardAt(hour)) struck.push(hour)
      hour += exponential(1 / LAYER, draws)
    }
  }
  return struck
}
