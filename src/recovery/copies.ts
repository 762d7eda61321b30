/** The common part of the strategies that restore a stage from copies which other members keep. */
import type { Member, Roster } from '../../protocols/membership.ts'
import { holdersOf } from '../membership/roster.ts'
import type { Loss, Origin, Source } from './strategy.ts'

/**
 * Finds the latest copy of a stage of which at least `shards` different shards are kept. Gives the reason if there is
 * none.
 */
export function latestCopies(
  strategy: string,
  { stage, copies }: Loss,
  shards = 1,
): readonly Origin[] | { reason: string } {
  const own = copies.filter((copy) => copy.strategy === strategy && copy.stage === stage)
  const bySteps = [...Map.groupBy(own, ({ step }) => step)].sort(([a], [b]) => b - a)
  for (const [, found] of bySteps) {
    if (new Set(found.map(({ shard }) => shard)).size >= shards) return [{ stage, copies: found }]
  }
  if (own.length === 0) return { reason: `no remaining member keeps a copy of stage ${stage}` }
  return { reason: `fewer than ${shards} shards of any copy of stage ${stage} are left` }
}

/** Restores the state of a copy without changing it. */
export function restore({ weights, optimizer, norm, learningRateScale }: Source) {
  return { weights, norms: [], norm, learningRateScale, ...(optimizer && { optimizer }) }
}

/**
 * Chooses `count` members that are unlikely to be lost together with the holders of a stage. It prefers the most distant
 * stages on the ring of stages, outside the holders' failure domains. Different stages get different keepers, so that
 * the memory for copies is spread.
 */
export function farMembers(
  roster: Roster,
  stage: number,
  bodyStages: number,
  count: number,
): Member[] {
  const stages = bodyStages + 1
  const own = holdersOf(roster, stage)
  const domains = new Set(own.map(({ domain }) => domain).filter((domain) => domain !== ''))
  const ring = Array.from({ length: stages - 1 }, (_, i) => (stage + awayAt(i, stages)) % stages)
  const candidates = ring.flatMap((other) => {
    const holders = holdersOf(roster, other)
    return holders.length === 0 ? [] : [holders[stage % holders.length]!]
  })
  const apart = candidates.filter(({ domain }) => !domains.has(domain))
  const near = candidates.filter(({ domain }) => domains.has(domain))
  return [...apart, ...near].slice(0, count)
}

/** Distance of the candidate with rank `i` on a ring of `stages`: half the ring first, then one more, one less, ... */
function awayAt(i: number, stages: number): number {
  const half = Math.floor(stages / 2)
  const distance = i % 2 === 0 ? half - i / 2 : half + (i + 1) / 2
  return ((distance - 1 + stages - 1) % (stages - 1)) + 1
}
