/** What strategies have in common that bring a stage back from copies which others keep. */
import type { Member, Roster } from '../../protocols/membership.ts'
import { holdersOf } from '../membership/roster.ts'
import type { Loss, Origin, Source } from './strategy.ts'

/** The latest copies of a stage of which so many shards are there. */
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
  if (own.length === 0) return { reason: `nobody that is left keeps a copy of stage ${stage}` }
  return { reason: `fewer than ${shards} shards of any copy of stage ${stage} are left` }
}

/** The state as it was when the copy was made. */
export function restore({ weights, optimizer, norm, learningRateScale }: Source) {
  return { weights, norms: [], norm, learningRateScale, ...(optimizer && { optimizer }) }
}

/**
 * `count` members that are unlikely to be lost together with the holders of a stage: of the stages, taken as a ring, those
 * on the far side first, and none of a domain that a holder is in if there are others. Each stage's keepers are other ones,
 * so that the memory for copies is spread.
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

/** Distances round a ring of so many, the farthest first: half-way, then one more, one less, ... */
function awayAt(i: number, stages: number): number {
  const half = Math.floor(stages / 2)
  const distance = i % 2 === 0 ? half - i / 2 : half + (i + 1) / 2
  return ((distance - 1 + stages - 1) % (stages - 1)) + 1
}
