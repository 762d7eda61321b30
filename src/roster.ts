/** The agreed membership, as a value: who is in, who holds what. Only the coordinator makes a new one. */
import type { Member, Roster } from '../protocols/membership.ts'
import type { Route } from '../protocols/step.ts'

/** The longest-standing member. */
export function coordinatorOf(roster: Roster): Member {
  return roster.members[0]!
}

export function memberOf(roster: Roster, peer: string): Member | undefined {
  return roster.members.find((member) => member.peer === peer)
}

export function holderOf(roster: Roster, stage: number): Member | undefined {
  return roster.members.find((member) => member.stage === stage)
}

export function sparesOf(roster: Roster): Member[] {
  return roster.members.filter((member) => member.stage === null)
}

/** The stages of 0..bodyStages without a holder, in ascending order. */
export function emptyStages(roster: Roster, bodyStages: number): number[] {
  const stages = Array.from({ length: bodyStages + 1 }, (_, stage) => stage)
  return stages.filter((stage) => holderOf(roster, stage) === undefined)
}

export interface Change {
  readonly joining?: readonly Member[]
  readonly leaving?: ReadonlySet<string>
  /** Peer to the stage that it is to hold from now on. */
  readonly assigned?: ReadonlyMap<string, number>
  readonly committed?: number
}

/** The roster of the next epoch. */
export function nextRoster(roster: Roster, change: Change): Roster {
  const staying = roster.members.filter((member) => !change.leaving?.has(member.peer))
  return {
    epoch: roster.epoch + 1,
    committed: change.committed ?? roster.committed,
    members: [...staying, ...(change.joining ?? [])].map((member) => ({
      ...member,
      stage: change.assigned?.get(member.peer) ?? member.stage,
    })),
  }
}

/** The body stages in their normal order 1..S, each with its holder. Every stage must have one. */
export function normalRoute(roster: Roster, bodyStages: number): Route {
  return Array.from({ length: bodyStages }, (_, i) => ({
    stage: i + 1,
    peer: holderOf(roster, i + 1)!.peer,
  }))
}
