/**
 * What the coordinator does next, as a pure function of what it knows. The coordinator of the node (`coordinator.ts`) and
 * the modelled one of `sim/lab/scale` both act on it.
 */
import { ASSIGNS_MAX, type Assignment } from '../../protocols/agreement.ts'
import type { Member } from '../../protocols/membership.ts'
import { emptyStages, holdersOf, isFresh, memberById } from '../membership/roster.ts'
import {
  isCovered,
  lastingHolders,
  type Match,
  place,
  type Situation,
  staying,
} from './placement.ts'

/** All that the next action depends on. */
export interface View extends Situation {
  /** The coordinator's own id. */
  readonly ownId: number
  /** False if the roster gives the coordinator a stage that it could not keep. */
  readonly isFit: boolean
  /** True if the step in hand was given up, so that its gradient sums must be emptied. */
  readonly isStepAbandoned: boolean
  /** Number of peers that wait to be let in, or to be found at other addresses. */
  readonly newcomers: number
  /** Number of members that are lost and still in the roster. */
  readonly lost: number
}

/** A change of the members. Newcomers are let in and lost members out with each one. */
export interface MembersChange {
  readonly reason: string
  /** True if the step in hand starts over. */
  readonly restart?: boolean
  readonly assign?: readonly Assignment[]
  /** Ids of members that leave. */
  readonly leave?: readonly number[]
}

export type Action =
  | {
      /**
       * What the next roster is for. `stepBack`: the coordinator gives up a stage that it could not keep. `changeMembers`: newcomers
       * or lost members are all there is to change. `release`: a holder becomes a spare, so that it can take an empty stage, or
       * because its link to a neighbour is broken. `letGo`: members leave that want to.
       */
      readonly type: 'stepBack' | 'changeMembers' | 'release' | 'letGo'
      readonly change: MembersChange
    }
  /** The next roster says how far new replicas are. */
  | {
      readonly type: 'advanceReplicas'
      readonly change: MembersChange & { readonly assign: readonly Assignment[] }
    }
  /** Spares start to become replicas of stages that others hold. Nothing waits for them. */
  | { readonly type: 'replicate'; readonly matches: readonly Match[] }
  /** Spares rebuild stages that nobody holds. */
  | { readonly type: 'rebuild'; readonly matches: readonly Match[] }
  /** The stage of a holder is on its way to another member. No step can be made until then. */
  | { readonly type: 'relieve'; readonly id: number; readonly reason: string }
  /** The coordinator itself leaves. The successor is null if it is the last member. */
  | { readonly type: 'handOver'; readonly successor: Member | null }
  /** These stages are empty, and no member can take them. `staying` members do not want to leave. */
  | { readonly type: 'wait'; readonly stages: readonly number[]; readonly staying: number }
  /** Every stage has a holder, and the next step can be made. */
  | { readonly type: 'settled' }

/** The first thing that is due. Each action changes what the later ones depend on. */
export function nextAction(view: View): Action {
  const { roster, ownId } = view
  if (!view.isFit) {
    const reason = 'the coordinator has lost its stage'
    return { type: 'stepBack', change: { reason, restart: true, assign: [spare(ownId)] } }
  }
  if (view.isStepAbandoned || view.newcomers > 0 || view.lost > 0) {
    const reason = 'members changed'
    return { type: 'changeMembers', change: { reason, restart: view.isStepAbandoned } }
  }
  const advanced = replicaAssignments(view)
  if (advanced.length > 0) {
    return { type: 'advanceReplicas', change: { reason: 'replicas advance', assign: advanced } }
  }

  const { matches, release } = place(view)
  const replicas = matches.filter(({ stage }) => canBeReplicated(view, stage))
  if (replicas.length > 0) return { type: 'replicate', matches: replicas }
  if (matches.length > 0) return { type: 'rebuild', matches: matches.slice(0, ASSIGNS_MAX) }
  if (release !== null) {
    const reason = 'a stage needs a holder'
    return { type: 'release', change: { reason, assign: [spare(release.id)] } }
  }

  const relief = nextRelief(view)
  if (relief !== null) return relief

  const free = freeToGo(view)
  const others = free.filter((id) => id !== ownId)
  if (others.length > 0)
    return { type: 'letGo', change: { reason: 'members leave', leave: others } }
  const remaining = staying(view, roster.members)
  if (free.includes(ownId)) return { type: 'handOver', successor: remaining[0] ?? null }

  const stages = emptyStages(roster, view.bodyStages)
  if (stages.length > 0) return { type: 'wait', stages, staying: remaining.length }
  return { type: 'settled' }
}

/** A holder whose link to a neighbour is broken gives its stage up as soon as another member holds it. */
function nextRelief(view: View): Action | null {
  let waiting: Action | null = null
  for (const [id, reason] of view.relieved) {
    const stage = memberById(view.roster, id)!.stage!
    if (lastingHolders(view, stage).length > 0) {
      return { type: 'release', change: { reason, assign: [spare(id)] } }
    }
    if (isCovered(view, stage)) waiting ??= { type: 'relieve', id, reason }
  }
  return waiting
}

function spare(id: number): Assignment {
  return { id, stage: null, ready: true }
}

/** What the next roster says of members that become replicas: begun, ready, or failed. */
function replicaAssignments({ roster, replicas }: View): Assignment[] {
  const assign: Assignment[] = []
  for (const [id, { stage, phase }] of replicas) {
    const isHeld = holdersOf(roster, stage).length > 0
    if (phase === 'built' && isHeld) assign.push({ id, stage, ready: false })
    else if (phase === 'ready') assign.push({ id, stage, ready: true })
    else if (phase === 'failed' || (phase !== 'building' && !isHeld)) assign.push(spare(id))
  }
  // Nobody follows the replicas that an earlier coordinator began.
  const orphans = roster.members.filter(
    ({ id, stage, ready }) => stage !== null && !ready && !replicas.has(id),
  )
  return [...assign, ...orphans.map(({ id }) => spare(id))].slice(0, ASSIGNS_MAX)
}

/** Others hold the stage and keep training. Before the first step there is nothing to synchronize. */
function canBeReplicated({ roster }: View, stage: number): boolean {
  return !isFresh(roster) && holdersOf(roster, stage).length > 0
}

/** Members that want to leave, and whose stage is in other hands or cannot be waited for. */
function freeToGo(view: View): number[] {
  const { roster, leaving } = view
  return [...leaving].flatMap(([id, { urgency }]) => {
    const stage = memberById(roster, id)?.stage ?? null
    const isNeeded = stage !== null && staying(view, holdersOf(roster, stage)).length === 0
    if (!isNeeded || urgency === 'now') return [id]
    return urgency === 'patient' || isCovered(view, stage) ? [] : [id]
  })
}
