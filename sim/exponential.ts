import type { Random } from '../stages/random.ts'

/** A draw from the exponential distribution: the time until the next event of a Poisson process. */
export function exponential(mean: number, random: Random): number {
  return -mean * Math.log(1 - random.float())
}
