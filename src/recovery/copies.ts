/** The common part of the strategies that restore a stage from copies which other members keep. */
import type { Member, Roster } from '../../protocols/membership.ts'
import { holdersOf, sparesOf } from '../membership/roster.ts'
import type { RecoverySettings } from './settings.ts'
import type { Loss, Origin, Source, Strategy } from './strategy.ts'

/** Number of copies from which a rebuild can choose, unless those of one step are more. */
const COPIES_MAX = 32

/**
 * Finds the copies of a stage of which enough different shards are kept, the latest first. Gives the reason if there is
 * none, or if all are older than the strategy allows and another strategy may work.
 */
export function latestCopies(
  { name, copies: ruleOf }: Strategy,
  { stage, bodyStages, copies, committed, isLastResort }: Loss,
  settings: RecoverySettings,
): readonly Origin[] | { reason: string } {
  const { shards, maxAge } = ruleOf!(settings, bodyStages)
  const own = copies.filter((copy) => copy.strategy === name && copy.stage === stage)
  const bySteps = [...Map.groupBy(own, ({ step }) => step)].sort(([a], [b]) => b - a)
  const whole = bySteps.filter(
    ([, found]) => new Set(found.map(({ shard }) => shard)).size >= shards.data,
  )
  const usable = whole.filter(([step]) => isLastResort || committed - step <= maxAge(stage))
  if (usable.length > 0) {
    const found = usable.flatMap(([, each]) => each)
    return [{ stage, copies: found.slice(0, Math.max(COPIES_MAX, usable[0]![1].length)) }]
  }
  if (whole.length > 0) {
    const age = committed - whole[0]![0]
    return {
      reason: `the latest copy of stage ${stage} is ${age} steps old, more than ${maxAge(stage)}`,
    }
  }
  if (own.length === 0) return { reason: `no remaining member keeps a copy of stage ${stage}` }
  return { reason: `fewer than ${shards.data} shards of any copy of stage ${stage} are left` }
}

/** Restores the state of a copy without changing it. */
export function restore({ weights, optimizer, norm, learningRateScale }: Source) {
  return { weights, norms: [], norm, learningRateScale, ...(optimizer && { optimizer }) }
}

/**
 * Chooses `count` members that are unlikely to be lost together with the holders of a stage. Holders of distant stages on
 * the ring of stages and spares take turns, in failure domains that the holders and the other keepers do not have, as far
 * as there are any. Different stages get different keepers, so that the memory for copies is spread.
 */
export function farMembers(
  roster: Roster,
  stage: number,
  bodyStages: number,
  count: number,
): Member[] {
  const stages = bodyStages + 1
  const ring = Array.from({ length: stages - 1 }, (_, i) => (stage + awayAt(i, stages)) % stages)
  const holding = ring.flatMap((other) => {
    const holders = holdersOf(roster, other)
    return holders.length === 0 ? [] : [holders[stage % holders.length]!]
  })
  const candidates = inTurn(holding, sparesFor(roster, stage, count))
  const own = domainsOf(holdersOf(roster, stage))
  const chosen: Member[] = []
  while (chosen.length < count && candidates.length > 0) {
    const others = domainsOf(chosen)
    const nearness = ({ domain }: Member) =>
      2 * Number(own.has(domain)) + Number(others.has(domain))
    const least = Math.min(...candidates.map(nearness))
    const next = candidates.findIndex((member) => nearness(member) === least)
    chosen.push(...candidates.splice(next, 1))
  }
  return chosen
}

/** Known failure domains of members. */
function domainsOf(members: readonly Member[]): Set<string> {
  return new Set(members.map(({ domain }) => domain).filter((domain) => domain !== ''))
}

/**
 * Spares in the order in which they keep copies of a stage. Each has a rank that depends on nothing but the stage and the
 * spare (rendezvous hashing), so that a spare that comes or goes leaves the others' copies where they are.
 */
function sparesFor(roster: Roster, stage: number, count: number): Member[] {
  const ranked = sparesOf(roster).map((member) => ({ member, rank: rankOf(stage, member.id) }))
  ranked.sort((a, b) => a.rank - b.rank || a.member.id - b.member.id)
  // Twice as many give a choice between failure domains.
  return ranked.slice(0, 2 * count).map(({ member }) => member)
}

/** A number that looks random, from two numbers: the finalizer of MurmurHash3. */
function rankOf(stage: number, id: number): number {
  let hash = Math.imul(stage + 1, 0x9e3779b1) ^ Math.imul(id + 1, 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** One of each list in turn, the first list first. */
function inTurn<T>(first: readonly T[], second: readonly T[]): T[] {
  const length = Math.max(first.length, second.length)
  return Array.from({ length }, (_, i) => [
    ...first.slice(i, i + 1),
    ...second.slice(i, i + 1),
  ]).flat()
}

/** Distance of the candidate with rank `i` on a ring of `stages`: half the ring first, then one more, one less, ... */
function awayAt(i: number, stages: number): number {
  const half = Math.floor(stages / 2)
  const distance = i % 2 === 0 ? half - i / 2 : half + (i + 1) / 2
  return ((distance - 1 + stages - 1) % (stages - 1)) + 1
}
