/** The agreed membership, as a value: who is in, who holds what, and how a change makes the next epoch of it. */
import type { Change } from '../protocols/agreement.ts'
import type { Ballot, Member, Roster } from '../protocols/membership.ts'

/** The roster of a run that nobody has joined but its founder. */
export function foundingRoster(founder: Omit<Member, 'id' | 'stage' | 'ready'>): Roster {
  return {
    epoch: 0,
    since: 0,
    committed: 0,
    learningRate: 0,
    norm: 0,
    loss: null,
    version: 0,
    coordinator: 0,
    ballot: { round: 0, id: 0 },
    nextId: 1,
    members: [{ ...founder, id: 0, stage: null, ready: true }],
  }
}

/** Members by id, by peer and by stage; those without one are among the holders of null. Made once a roster: of thousands, each message looks some of them up. */
interface Index {
  readonly byId: ReadonlyMap<number, Member>
  readonly byPeer: ReadonlyMap<string, Member>
  readonly holders: ReadonlyMap<number | null, Member[]>
  readonly learners: ReadonlyMap<number | null, Member[]>
}

const indices = new WeakMap<readonly Member[], Index>()

function indexOf({ members }: Roster): Index {
  const known = indices.get(members)
  if (known !== undefined) return known
  const index = {
    byId: new Map(members.map((member) => [member.id, member])),
    byPeer: new Map(members.map((member) => [member.peer, member])),
    holders: Map.groupBy(
      members.filter(({ ready }) => ready),
      ({ stage }) => stage,
    ),
    learners: Map.groupBy(
      members.filter(({ ready }) => !ready),
      ({ stage }) => stage,
    ),
  }
  indices.set(members, index)
  return index
}

export function coordinatorOf(roster: Roster): Member {
  // A roster whose coordinator has left on its own names its successor, who is in it.
  return memberById(roster, roster.coordinator) ?? roster.members[0]!
}

export function memberOf(roster: Roster, peer: string): Member | undefined {
  return indexOf(roster).byPeer.get(peer)
}

export function memberById(roster: Roster, id: number): Member | undefined {
  return indexOf(roster).byId.get(id)
}

/** In the order of the roster: the order in which their sums are added. */
export function holdersOf(roster: Roster, stage: number): readonly Member[] {
  return indexOf(roster).holders.get(stage) ?? []
}

/** Members that will hold the stage once they have its state. */
export function learnersOf(roster: Roster, stage: number): readonly Member[] {
  return indexOf(roster).learners.get(stage) ?? []
}

export function sparesOf(roster: Roster): readonly Member[] {
  return indexOf(roster).holders.get(null) ?? []
}

/** The stages of 0..bodyStages without a holder, in ascending order. */
export function emptyStages(roster: Roster, bodyStages: number): number[] {
  const held = new Set(roster.members.map(({ stage, ready }) => (ready ? stage : null)))
  const stages = Array.from({ length: bodyStages + 1 }, (_, stage) => stage)
  return stages.filter((stage) => !held.has(stage))
}

/**
 * More than half of the members; or exactly half with the coordinator among them. Any two such sets have a member in
 * common: two halves both have the coordinator.
 */
export function isQuorum(roster: Roster, ids: ReadonlySet<number>): boolean {
  const present = roster.members.filter(({ id }) => ids.has(id)).length
  if (2 * present === roster.members.length) return ids.has(roster.coordinator)
  return 2 * present > roster.members.length
}

export function compareBallots(a: Ballot, b: Ballot): number {
  return a.round - b.round || a.id - b.id
}

/** The roster of the next epoch. */
export function applyChange(roster: Roster, change: Change): Roster {
  const { coordinator, ballot } = change
  const next = { ...roster, epoch: roster.epoch + 1, coordinator, ballot }
  switch (change.type) {
    case 'commit': {
      const { step, learningRate, norm, loss, version } = change
      return { ...next, committed: step, learningRate, norm, loss, version }
    }
    case 'members': {
      const leaving = new Set(change.leave)
      const assigned = new Map(change.assign.map((assignment) => [assignment.id, assignment]))
      const staying = roster.members.filter(({ id }) => !leaving.has(id))
      const joining = change.join.map((newcomer, i) => ({
        ...newcomer,
        id: roster.nextId + i,
        stage: null,
        ready: true,
      }))
      return {
        ...next,
        since: change.restart ? next.epoch : roster.since,
        nextId: roster.nextId + joining.length,
        members: [...staying, ...joining].map((member) => {
          const assignment = assigned.get(member.id)
          return assignment === undefined ? member : { ...member, ...assignment }
        }),
      }
    }
  }
}
