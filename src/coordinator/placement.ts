/** Who takes which stage, and how the stage is to come back: decisions, without any of the asking. */
import { ASSIGNS_MAX } from '../../protocols/agreement.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { Donor } from '../../protocols/step.ts'
import type { Skipped } from '../base/journal.ts'
import { DONORS_MAX } from '../base/limits.ts'
import {
  emptyStages,
  holdersOf,
  isFresh,
  isRestored,
  learnersOf,
  memberById,
  sparesOf,
} from '../membership/roster.ts'
import { choose } from '../recovery/index.ts'
import type { Loss, Origin } from '../recovery/strategy.ts'
import type { Run } from '../run/run.ts'

/** A member, and the stage that it is to take. */
export interface Match {
  readonly stage: number
  readonly member: Member
}

export interface Situation {
  readonly roster: Roster
  readonly bodyStages: number
  /** Members that are kept without a stage, for one that is lost. */
  readonly spares: number
  /** The stage that a peer insists on, or null. */
  readonly wishes: ReadonlyMap<PeerId, number | null>
  /** Members that get ready to learn a stage, and which: the roster does not say so yet. */
  readonly learning: ReadonlyMap<number, number>
  /** Members that are about to leave: they take nothing any more. */
  readonly leaving: ReadonlySet<number>
  /** Microbatches a second of a member; undefined before it has made a step. */
  speedOf(id: number): number | undefined
}

export interface Placement {
  /** Spares that take a stage: empty ones first, then the weakest. */
  readonly matches: readonly Match[]
  /** A holder that gives its stage up for one that has nobody; it becomes a spare first. */
  readonly release: Member | null
}

/** What is to be done now so that every stage has holders; nothing if both are empty. */
export function place(situation: Situation): Placement {
  const { roster, bodyStages, leaving, learning } = situation
  const spares = sparesOf(roster).filter(({ id }) => !leaving.has(id) && !learning.has(id))
  const matches: Match[] = []
  const take = (stage: number, needed: boolean) => {
    const member = bestSpare(situation, spares, stage, needed)
    if (member === undefined) return false
    spares.splice(spares.indexOf(member), 1)
    matches.push({ stage, member })
    return true
  }
  const empty = emptyStages(roster, bodyStages)
  const unfilled = empty.filter((stage) => !take(stage, true))
  // A peer that insists on a stage holds it as one more replica.
  for (const { peer } of [...spares]) {
    const wish = situation.wishes.get(peer) ?? null
    if (wish !== null && !empty.includes(wish)) take(wish, true)
  }
  // Whoever leaves has its stage taken over while it is still there.
  for (const id of leaving) {
    const stage = roster.members.find((member) => member.id === id)?.stage ?? null
    if (stage === null || empty.includes(stage)) continue
    const staying = holdersOf(roster, stage).filter((holder) => !leaving.has(holder.id))
    const coming = matches.some((match) => match.stage === stage) || isLearnt(situation, stage)
    if (staying.length === 0 && !coming) take(stage, true)
  }
  // What one change can say: the rest are matched after it.
  const more = () => spares.length > situation.spares && matches.length < ASSIGNS_MAX
  if (empty.length === 0 && more()) {
    const strengths = strengthsOf(situation, matches)
    do {
      const weakest = weakestOf(strengths)
      if (!take(weakest, false)) break
      add(strengths[weakest]!, situation.speedOf(matches.at(-1)!.member.id))
    } while (more())
  }
  const release = unfilled.length > 0 && matches.length === 0 ? releasable(situation) : null
  return { matches, release }
}

/** One that insists on the stage, else one that insists on nothing; from another failure domain if there is one. */
function bestSpare(
  { roster, wishes }: Situation,
  spares: readonly Member[],
  stage: number,
  needed: boolean,
): Member | undefined {
  const wishing = spares.find(({ peer }) => wishes.get(peer) === stage)
  if (wishing !== undefined && needed) return wishing
  const free = spares.filter(({ peer }) => (wishes.get(peer) ?? null) === null)
  // What is lost together must not be what is needed to bring it back: replicas, and neighbours.
  const near = new Set<string>()
  for (const each of [stage - 1, stage, stage + 1]) {
    for (const { domain } of holdersOf(roster, each)) near.add(domain)
    for (const { domain } of learnersOf(roster, each)) near.add(domain)
  }
  return free.find(({ domain }) => !near.has(domain)) ?? free[0]
}

/** What is known of the speed of those who hold a stage, or are on the way to. */
interface Strength {
  members: number
  /** Of them, measured. */
  known: number
  /** Of those that are. */
  speed: number
}

function add(strength: Strength, speed: number | undefined): void {
  strength.members++
  if (speed === undefined) return
  strength.known++
  strength.speed += speed
}

/** Of each stage. Counted once: of thousands of members, each of hundreds of spares asks for the weakest. */
function strengthsOf(
  { roster, bodyStages, learning, speedOf }: Situation,
  matches: readonly Match[],
): Strength[] {
  const strengths: Strength[] = []
  for (let stage = 0; stage <= bodyStages; stage++) {
    const strength = { members: 0, known: 0, speed: 0 }
    for (const { id } of holdersOf(roster, stage)) add(strength, speedOf(id))
    for (const { id } of learnersOf(roster, stage)) add(strength, speedOf(id))
    strengths.push(strength)
  }
  for (const [id, stage] of learning) {
    const isThere = memberById(roster, id) !== undefined
    if (isThere) add(strengths[stage]!, speedOf(id))
  }
  for (const { stage, member } of matches) add(strengths[stage]!, speedOf(member.id))
  return strengths
}

/** The stage with the least total speed; of equals the ends first, which nothing but a copy brings back. */
function weakestOf(strengths: readonly Strength[]): number {
  let weakest = 0
  let least = Number.POSITIVE_INFINITY
  for (const [stage, { members, known, speed }] of strengths.entries()) {
    // Who has not been measured counts as one of its fellows; a stage that nobody has been measured in, by its heads.
    const total = (known === 0 ? 1 : speed / known) * members
    if (total < least) [weakest, least] = [stage, total]
  }
  return weakest
}

/** Somebody is on the way to hold the stage, and will not leave. */
export function isLearnt({ roster, learning, leaving }: Situation, stage: number): boolean {
  const learners = [
    ...learnersOf(roster, stage),
    ...roster.members.filter(({ id }) => learning.get(id) === stage),
  ]
  return learners.some(({ id }) => !leaving.has(id))
}

/** The youngest holder of the stage with the most; never the last one of its stage. */
function releasable({ roster, bodyStages, leaving, wishes }: Situation): Member | null {
  let crowded: Member[] = []
  for (let stage = 0; stage <= bodyStages; stage++) {
    const holders = holdersOf(roster, stage).filter(({ id }) => !leaving.has(id))
    if (holders.length >= 2 && holders.length > crowded.length) crowded = holders
  }
  return crowded.findLast(({ peer }) => (wishes.get(peer) ?? null) === null) ?? null
}

export interface Plan {
  readonly strategy: string
  readonly donors: Donor[]
  readonly skipped: readonly Skipped[]
}

/**
 * How a stage that nobody holds gets its weights: by the run's policy.
 * @param found what live members keep, and whether there is a checkpoint
 * @throws ProtocolError REFUSED if no strategy of the run's policy can work
 */
export function planFor(
  run: Run,
  roster: Roster,
  stage: number,
  found: Pick<Loss, 'copies' | 'noCheckpoint'>,
): Plan {
  const { committed } = roster
  const live = new Set(roster.members.flatMap(({ stage, ready }) => (ready ? (stage ?? []) : [])))
  const loss = { stage, bodyStages: run.stages, live, committed, ...found }
  const { chosen, skipped } = choose(rowsFor(run, roster), loss, run.recovery)
  if (chosen === null) {
    const reasons = skipped.map(({ strategy, reason }) => `${strategy}: ${reason}`)
    throw new ProtocolError(
      'REFUSED',
      `stage ${stage} is lost and no strategy of the policy can rebuild it (${reasons.join('; ')})`,
    )
  }
  const donors = chosen.donors.flatMap((origin) => donorsOf(roster, origin))
  return { strategy: chosen.strategy.name, donors, skipped }
}

function donorsOf(roster: Roster, { stage, copies, understudies }: Origin): Donor[] {
  if (copies !== undefined) return copies.map(({ peer, ...copy }) => ({ stage, peer, copy }))
  const peers = understudies ?? holdersOf(roster, stage).map(({ peer }) => peer)
  return peers.slice(0, DONORS_MAX).map((peer) => ({ stage, peer, copy: null }))
}

/** The rows that are tried for a stage that nobody holds. */
function rowsFor(run: Run, roster: Roster): readonly string[] {
  // Before the first step a stage has learnt nothing: what the swarm was started from makes it as it is, or was.
  if (isFresh(roster)) return [roster.origin === null ? 'seed' : 'resume']
  // Others that have been filled since the swarm went back are no donors: what comes back is that step, exactly.
  return isRestored(roster) ? ['checkpoint'] : run.recovery.policy
}
