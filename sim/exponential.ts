import type { Random } from '../stages/random.ts'

/** Draws from the exponential distribution. The value is the time until the next event of a Poisson process. */
export function exponential(mean: number, random: Random): number {
  return -mean * Math.log(1 - random.float())
}
