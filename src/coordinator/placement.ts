/** Decides which member takes which stage. It asks nobody. */
import { ASSIGNS_MAX } from '../../protocols/agreement.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { emptyStages, holdersOf, learnersOf, memberById, sparesOf } from '../membership/roster.ts'

/** A member, and the stage that it is to take. */
export interface Match {
  readonly stage: number
  readonly member: Member
}

/** A member on its way to be one more holder of a stage. */
export interface ReplicaProgress {
  readonly stage: number
  /**
   * `building` its sessions; `built`, and the roster may name it; `synchronizing` its state with the holders'; then `ready`
   * or `failed`, until the next roster says so.
   */
  readonly phase: 'building' | 'built' | 'synchronizing' | 'ready' | 'failed'
  /** Step after which the state is that it synchronizes with. Holders keep this state until it is fetched. */
  readonly since?: number
}

/** A member that rebuilds a stage which nobody holds. */
export interface RebuildProgress {
  readonly stage: number
  /** `building`, or `built`, and the next roster may name it. */
  readonly phase: 'building' | 'built'
}

/**
 * How long a member that leaves waits. `patient`: for a joiner, if nobody else can take its stage. `hasty`: only for a member
 * that is on its way to hold the stage. `now`: for nobody, since its time is over.
 */
export type Urgency = 'patient' | 'hasty' | 'now'

/** What the coordinator knows of its members, as far as stages are given by it. Members are named by their ids. */
export interface Situation {
  readonly roster: Roster
  readonly bodyStages: number
  /** Number of members that are kept without a stage, to replace a lost one. */
  readonly spares: number
  /** The stage that a peer insists on, or null. */
  readonly wishes: ReadonlyMap<PeerId, number | null>
  readonly replicas: ReadonlyMap<number, ReplicaProgress>
  readonly rebuilds: ReadonlyMap<number, RebuildProgress>
  /** Members that want to leave: they take no stage. */
  readonly leaving: ReadonlyMap<number, { readonly urgency: Urgency }>
  /** Holders that are to give their stage to another member: their link to a neighbour is broken. By id, with the reason. */
  readonly relieved: ReadonlyMap<number, string>
  /** What is known of links that do not work. */
  readonly links: {
    /** The stages between which microbatches pass directly, by stage. */
    readonly neighbours: readonly ReadonlySet<number>[]
    readonly broken: { readonly isEmpty: boolean; has(a: PeerId, b: PeerId): boolean }
  }
  /** How often a peer lost a stage for a fault of its own lately. */
  faultsOf(peer: PeerId): number
  /** Microbatches a second of a member; undefined before its first step. */
  speedOf(id: number): number | undefined
}

interface Placement {
  /** Spares that take a stage: empty stages first, then the slowest. */
  readonly matches: readonly Match[]
  /** A holder that becomes a spare, so that it can take a stage that is empty or whose holders all leave. */
  readonly release: Member | null
}

/** Matches spares with stages. Both results are empty when no stage needs another holder, or no member is free. */
export function place(situation: Situation): Placement {
  const { roster, bodyStages, leaving, rebuilds, relieved } = situation
  const spares = sparesOf(roster).filter(
    ({ id }) => !leaving.has(id) && !rebuilds.has(id) && !isBusyReplica(situation, id),
  )
  const matches: Match[] = []
  const take = (stage: number, needed: boolean) => {
    const fit = spares.filter((spare) => canTake(situation, spare, stage, matches))
    const member = bestSpare(situation, fit, stage, needed)
    if (member === undefined) return false
    spares.splice(spares.indexOf(member), 1)
    matches.push({ stage, member })
    return true
  }
  const empty = emptyStages(roster, bodyStages)
  const rebuilt = new Set([...rebuilds.values()].map(({ stage }) => stage))
  const unfilled = empty.filter((stage) => !rebuilt.has(stage) && !take(stage, true))
  // A peer without faults that insists on a stage that others hold becomes one more replica of it.
  for (const { peer } of [...spares]) {
    const wish = situation.wishes.get(peer) ?? null
    if (wish !== null && !empty.includes(wish) && situation.faultsOf(peer) === 0) take(wish, true)
  }
  // A spare takes over the stage of a member that leaves, or is relieved of it, while that member still holds it.
  let isUncovered = false
  for (const id of [...leaving.keys(), ...relieved.keys()]) {
    const stage = memberById(roster, id)?.stage ?? null
    if (stage === null || empty.includes(stage)) continue
    const isComing = matches.some((match) => match.stage === stage) || isCovered(situation, stage)
    const isLeft = isComing || lastingHolders(situation, stage).length > 0
    if (!isLeft && !take(stage, true)) isUncovered = true
  }
  // One change of the roster names so many at most. The other spares are matched after it.
  const more = () => spares.length > situation.spares && matches.length < ASSIGNS_MAX
  if (empty.length === 0 && more()) {
    const strengths = strengthsOf(situation, matches)
    do {
      const weakest = weakestOf(strengths)
      if (!take(weakest, false)) break
      add(strengths[weakest]!, situation.speedOf(matches.at(-1)!.member.id))
    } while (more())
  }
  const isNeeded = unfilled.length > 0 || isUncovered
  const release = isNeeded && matches.length === 0 ? releasable(situation) : null
  return { matches, release }
}

/** True if no link between the spare and the members that it would exchange tensors with is known to be broken. */
function canTake(
  { roster, links, rebuilds }: Situation,
  { peer }: Member,
  stage: number,
  matches: readonly Match[],
): boolean {
  const { neighbours, broken } = links
  if (broken.isEmpty) return true
  const near = new Set([stage, ...neighbours[stage]!])
  const others = [
    ...[...near].flatMap((each) => holdersOf(roster, each)),
    ...matches.flatMap((match) => (near.has(match.stage) ? match.member : [])),
    ...roster.members.filter(({ id }) => near.has(rebuilds.get(id)?.stage ?? -1)),
  ]
  return others.every((other) => !broken.has(peer, other.peer))
}

/** True for a spare that builds a replica. One whose stage has no holder any more is free: it may rebuild that stage. */
function isBusyReplica({ roster, replicas }: Situation, id: number): boolean {
  const replica = replicas.get(id)
  return replica !== undefined && holdersOf(roster, replica.stage).length > 0
}

/**
 * Of the spares with the fewest faults of their own: one that insists on the stage, else one that insists on no stage, from
 * another failure domain if there is one.
 */
function bestSpare(
  { roster, wishes, faultsOf }: Situation,
  spares: readonly Member[],
  stage: number,
  needed: boolean,
): Member | undefined {
  const willing = spares.filter(({ peer }) => {
    const wish = wishes.get(peer) ?? null
    return wish === null || (needed && wish === stage)
  })
  const fewestFaults = Math.min(...willing.map(({ peer }) => faultsOf(peer)))
  const free = willing.filter(({ peer }) => faultsOf(peer) === fewestFaults)
  const wishing = free.find(({ peer }) => wishes.get(peer) === stage)
  if (wishing !== undefined) return wishing
  // A stage is brought back from its replicas or its neighbours, which must not be lost together with it.
  const near = new Set<string>()
  for (const each of [stage - 1, stage, stage + 1]) {
    for (const { domain } of holdersOf(roster, each)) near.add(domain)
    for (const { domain } of learnersOf(roster, each)) near.add(domain)
  }
  return free.find(({ domain }) => !near.has(domain)) ?? free[0]
}

/** The measured speed of a stage's holders and of those that become holders. */
interface Strength {
  members: number
  /** Number of members that were measured. */
  measured: number
  /** Microbatches a second of the measured members together. */
  speed: number
}

function add(strength: Strength, speed: number | undefined): void {
  strength.members++
  if (speed === undefined) return
  strength.measured++
  strength.speed += speed
}

/** The strength of each stage. Computed once for all spares: there are hundreds of them among thousands of members. */
function strengthsOf(
  { roster, bodyStages, replicas, rebuilds, speedOf }: Situation,
  matches: readonly Match[],
): Strength[] {
  const strengths: Strength[] = []
  for (let stage = 0; stage <= bodyStages; stage++) {
    const strength = { members: 0, measured: 0, speed: 0 }
    for (const { id } of holdersOf(roster, stage)) add(strength, speedOf(id))
    for (const { id } of learnersOf(roster, stage)) add(strength, speedOf(id))
    strengths.push(strength)
  }
  for (const [id, { stage }] of [...replicas, ...rebuilds]) {
    const isThere = memberById(roster, id) !== undefined
    if (isThere) add(strengths[stage]!, speedOf(id))
  }
  for (const { stage, member } of matches) add(strengths[stage]!, speedOf(member.id))
  return strengths
}

/** The stage with the least total speed. Among equals the ends come first: only a copy brings them back. */
function weakestOf(strengths: readonly Strength[]): number {
  let weakest = 0
  let least = Number.POSITIVE_INFINITY
  for (const [stage, { members, measured, speed }] of strengths.entries()) {
    // An unmeasured member counts as the mean of its stage. A stage without any measured member counts its members.
    const total = (measured === 0 ? 1 : speed / measured) * members
    if (total < least) [weakest, least] = [stage, total]
  }
  return weakest
}

/** Members that do not want to leave. */
export function staying({ leaving }: Situation, members: readonly Member[]): Member[] {
  return members.filter(({ id }) => !leaving.has(id))
}

/** Holders of the stage that neither want to leave nor are to give the stage up. */
export function lastingHolders(situation: Situation, stage: number): Member[] {
  const holders = staying(situation, holdersOf(situation.roster, stage))
  return holders.filter(({ id }) => !situation.relieved.has(id))
}

/** True if a member that does not leave is on its way to hold the stage. */
export function isCovered(situation: Situation, stage: number): boolean {
  const { roster, replicas, rebuilds } = situation
  const coming = [
    ...learnersOf(roster, stage),
    ...roster.members.filter(({ id }) => (replicas.get(id) ?? rebuilds.get(id))?.stage === stage),
  ]
  return staying(situation, coming).length > 0
}

/** The youngest holder of the stage that has most holders, never the last holder of its stage. */
function releasable(situation: Situation): Member | null {
  const { bodyStages, wishes } = situation
  let crowded: Member[] = []
  for (let stage = 0; stage <= bodyStages; stage++) {
    const holders = lastingHolders(situation, stage)
    if (holders.length >= 2 && holders.length > crowded.length) crowded = holders
  }
  return crowded.findLast(({ peer }) => (wishes.get(peer) ?? null) === null) ?? null
}
