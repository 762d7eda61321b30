/**
 * Draws choices by the jump consistent hash of Lamping and Veach.
 * With one more candidate, each draw keeps its result unless it falls on the new candidate.
 * So a burst strikes the same peers in a swarm that has a few more peers.
 */
import type { Random } from '../../../stages/random.ts'

/** Draws a number uniformly from 0 .. count - 1. */
export function chooseOne(count: number, random: Random): number {
  let chosen = 0
  for (let next = 0; next < count; next = Math.floor((chosen + 1) / (1 - random.float()))) {
    chosen = next
  }
  return chosen
}

/** Draws `size` different numbers from 0 .. count - 1, or all of them. A larger choice begins with the smaller one. */
export function chooseSome(count: number, size: number, random: Random): number[] {
  const chosen = new Set<number>()
  const enough = Math.min(size, count)
  for (let draw = 0; chosen.size < enough; draw++) {
    chosen.add(chooseOne(count, random.stream(draw)))
  }
  return [...chosen]
}
