/** Draws numbers of given distributions. Each function takes a fixed count of draws, so equal streams stay in step. */
import type { Random } from '../../../stages/random.ts'
import { exponential } from '../../exponential.ts'

/**
 * Draws a number of a Weibull distribution with the given mean.
 * @param shape 1 is exponential; below 1 the hazard falls with age
 */
export function weibull(mean: number, shape: number, random: Random): number {
  const scale = mean / gamma(1 + 1 / shape)
  return scale * (-Math.log(1 - random.float())) ** (1 / shape)
}

/**
 * Draws a number of a geometric distribution on 1, 2, 3 ... with the given mean.
 * The same draw never gives a smaller number for a larger mean.
 */
export function geometric(mean: number, random: Random): number {
  return 1 + Math.floor(Math.log(1 - random.float()) / Math.log(1 - 1 / mean))
}

/** Terms of Lanczos' approximation of the gamma function with g = 7: 15 digits for arguments from 1/2. */
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

/** Hazard an hour at which the share `rate` has failed after one hour. */
export function hazardOf(rate: number): number {
  return -Math.log1p(-rate)
}

/** Hazard an hour of one layer of `thinnedHours`; most scenarios need only one layer. */
const LAYER = 0.5

/**
 * Draws the hours of the events of a Poisson process with a changing hazard.
 *
 * The function draws the events of a dominating process and thins them.
 * These events lie evenly in the plane of hours and marks. An event counts if its mark is below the hazard of its hour.
 * So an event at a low hazard also occurs at a higher hazard, at the same time (common random numbers).
 * Two rates therefore differ only by the additional failures, and their comparison needs far fewer seeds.
 * The plane is drawn in layers, each from its own stream, because no finite hazard dominates all rates.
 *
 * @param hazardMax upper bound of `hazardAt`, an hour
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
