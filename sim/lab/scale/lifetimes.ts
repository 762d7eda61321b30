/** Losses of a swarm under steady churn: the peers of each slot follow one another, with exponential lifetimes. */
import { Random } from '../../../stages/random.ts'
import type { Loss } from '../failures/loss.ts'

/** @param hourly share of the peers that are lost in an hour */
export function exponentialLosses(
  { peers, hours, hourly }: { peers: number; hours: number; hourly: number },
  seed: number,
): Loss[] {
  const random = new Random(seed).stream('lifetimes')
  const losses: Loss[] = []
  for (let slot = 0; slot < peers; slot++) {
    const own = random.stream(String(slot))
    for (let at = 0; ; ) {
      at += -Math.log(1 - own.float()) / hourly
      if (at > hours) break
      losses.push({ hours: at, slot })
    }
  }
  return losses.sort((a, b) => a.hours - b.hours)
}
