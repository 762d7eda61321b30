/**
 * The roster as an immutable value: the members, their stages, and the change from one epoch to the next. Lookups of
 * members use an index that is made once for each roster.
 */
import type { Change } from '../../protocols/agreement.ts'
import {
  type Ballot,
  decodeRoster,
  type Member,
  type Origin,
  type Roster,
} from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'

/**
 * The first roster of a run, with its founder as the only member.
 * @param origin the checkpoint that the run starts from; null if it starts from its initial weights
 */
export function foundingRoster(
  founder: Omit<Member, 'id' | 'stage' | 'ready' | 'host'>,
  origin: Origin | null = null,
): Roster {
  return {
    epoch: 0,
    fenceEpoch: 0,
    origin,
    resharded: null,
    committed: origin?.step ?? 0,
    learningRate: 0,
    norm: 0,
    loss: null,
    version: 0,
    coordinator: 0,
    ballot: { round: 0, id: 0 },
    nextId: 1,
    members: [{ ...founder, host: '', id: 0, stage: null, ready: true }],
  }
}

/** True until the first step since the swarm was started: every stage has the weights that the swarm started from. */
export function isFresh({ committed, origin }: Roster): boolean {
  return committed === (origin?.step ?? 0)
}

/**
 * Members by id, by peer and by stage; spares are the holders of `null`. Each map is made at its first use, since every
 * message looks up some of perhaps thousands of members.
 */
class Index {
  readonly #members: readonly Member[]
  #byId: Map<number, Member> | null = null
  #byPeer: Map<string, Member> | null = null
  #stages: Record<'holders' | 'learners', Map<number | null, Member[]>> | null = null

  constructor(members: readonly Member[]) {
    this.#members = members
  }

  get byId(): ReadonlyMap<number, Member> {
    this.#byId ??= new Map(this.#members.map((member) => [member.id, member]))
    return this.#byId
  }

  get byPeer(): ReadonlyMap<string, Member> {
    this.#byPeer ??= new Map(this.#members.map((member) => [member.peer, member]))
    return this.#byPeer
  }

  get holders(): ReadonlyMap<number | null, Member[]> {
    return this.#byStage.holders
  }

  get learners(): ReadonlyMap<number | null, Member[]> {
    return this.#byStage.learners
  }

  get #byStage() {
    if (this.#stages !== null) return this.#stages
    const stages = {
      holders: new Map<number | null, Member[]>(),
      learners: new Map<number | null, Member[]>(),
    }
    for (const member of this.#members) {
      const group = member.ready ? stages.holders : stages.learners
      const same = group.get(member.stage)
      if (same === undefined) group.set(member.stage, [member])
      else same.push(member)
    }
    this.#stages = stages
    return stages
  }
}

/** The index of each list of members. Most epochs leave the list unchanged, so that its index is made once. */
const indices = new WeakMap<readonly Member[], Index>()

function indexOf({ members }: Roster): Index {
  const known = indices.get(members)
  if (known !== undefined) return known
  const index = new Index(members)
  indices.set(members, index)
  return index
}

/** Makes the rosters of a member, from whole rosters and from changes. */
export interface RosterSource {
  /** Decodes a whole roster that `from` sent. @throws ProtocolError BAD_MESSAGE if it is malformed */
  decode(from: PeerId, body: Uint8Array | undefined): Roster
  /** The roster of the next epoch. */
  apply(roster: Roster, change: Change): Roster
}

/** The source of a real node, which makes a new roster for each call. */
export const ROSTERS: RosterSource = { decode: decodeRoster, apply: applyChange }

/** The coordinator that the roster names. */
export function coordinatorOf(roster: Roster): Member {
  // The coordinator is a member: a coordinator that leaves names its successor in the same change.
  return memberById(roster, roster.coordinator) ?? roster.members[0]!
}

/** The member with this peer id; undefined if there is none. */
export function memberOf(roster: Roster, peer: string): Member | undefined {
  return indexOf(roster).byPeer.get(peer)
}

/** The member with this id; undefined if there is none. */
export function memberById(roster: Roster, id: number): Member | undefined {
  return indexOf(roster).byId.get(id)
}

/** Members that hold the stage, in the order of the roster. Gradients are summed in this order. */
export function holdersOf(roster: Roster, stage: number): readonly Member[] {
  return indexOf(roster).holders.get(stage) ?? []
}

/** Members that fetch the stage's state, and will hold the stage afterwards. */
export function learnersOf(roster: Roster, stage: number): readonly Member[] {
  return indexOf(roster).learners.get(stage) ?? []
}

/** Members without a stage. */
export function sparesOf(roster: Roster): readonly Member[] {
  return indexOf(roster).holders.get(null) ?? []
}

/** Stages from 0 to `bodyStages` without a holder, in ascending order. */
export function emptyStages(roster: Roster, bodyStages: number): number[] {
  const { holders } = indexOf(roster)
  const stages = Array.from({ length: bodyStages + 1 }, (_, stage) => stage)
  return stages.filter((stage) => !holders.has(stage))
}

/** True for a member that holds a stage, and takes part in steps. */
export function isHolder({ stage, ready }: Pick<Member, 'stage' | 'ready'>): boolean {
  return stage !== null && ready
}

/** The voters of each roster, made at their first use. */
const voters = new WeakMap<Roster, ReadonlySet<number>>()

/**
 * Ids of the members whose answers decide the next epoch: all holders, and fewer other members than holders. So the loss
 * of other members never costs the majority while all holders are left. The coordinator always votes, and the other
 * voters are the longest-standing members. While nobody holds a stage, all members vote. The votes of one network are
 * bounded (`Votes`): many names of one host are one voice.
 */
export function votersOf(roster: Roster): ReadonlySet<number> {
  const known = voters.get(roster)
  if (known !== undefined) return known
  const { members, coordinator } = roster
  const holders = members.filter(isHolder)
  const votes = new Votes()
  votes.add(holders, holders.length)
  // Holders without a vote make room for no other member.
  const most = holders.length === 0 ? members.length : 2 * votes.ids.size - 1
  const first = memberById(roster, coordinator)
  if (first !== undefined) votes.give(first)
  votes.add(members, most)
  voters.set(roster, votes.ids)
  return votes.ids
}

/** Votes that one network always has. */
const VOTES_OF_A_HOST = 2

/**
 * Gives votes to members in the order of joining. A network gets no further vote that would make its votes more than those
 * of all others, except while no other known network has one: a run that begins in one network has all its members there.
 */
class Votes {
  readonly ids = new Set<number>()
  readonly #byHost = new Map<string, number>()

  /** Gives votes to these members, until there are `most`. */
  add(members: readonly Member[], most: number): void {
    let waiting = members.filter(({ id }) => !this.ids.has(id))
    for (let before = -1; before !== this.ids.size; ) {
      before = this.ids.size
      // A member whose network has its share may get a vote once others have theirs.
      waiting = waiting.filter((member) => !this.#take(member, most))
    }
  }

  /** Gives a vote, whatever its network has. */
  give({ id, host }: Pick<Member, 'id' | 'host'>): void {
    if (this.ids.has(id)) return
    this.ids.add(id)
    this.#byHost.set(host, (this.#byHost.get(host) ?? 0) + 1)
  }

  #take({ id, host }: Member, most: number): boolean {
    if (this.ids.size >= most) return false
    const own = this.#byHost.get(host) ?? 0
    const others = this.ids.size - own
    const isAlone = others === (this.#byHost.get('') ?? 0)
    const mayVote = host === '' || own < VOTES_OF_A_HOST || isAlone || own + 1 <= others
    if (mayVote) this.give({ id, host })
    return mayVote
  }
}

/**
 * Tells whether `ids` are a quorum: more than half of the voters, or exactly half with the coordinator. Any two quorums
 * of one roster have a common voter, since two halves have the coordinator in common.
 */
export function isQuorum(roster: Roster, ids: ReadonlySet<number>): boolean {
  const voting = votersOf(roster)
  // This shortcut avoids counting thousands of voters after each of their answers.
  if (2 * ids.size < voting.size) return false
  const present = [...voting].filter((id) => ids.has(id)).length
  if (2 * present === voting.size) return ids.has(roster.coordinator)
  return 2 * present > voting.size
}

/** True from a rollback until the next commit: a stage without a holder then gets its state from the checkpoint. */
export function isRestored({ committed, loss }: Roster): boolean {
  return committed > 0 && loss === null
}

/** Compares two ballots, for sorting: below 0 if `a` is the lower one. */
export function compareBallots(a: Ballot, b: Ballot): number {
  return a.round - b.round || a.id - b.id
}

/**
 * Members that the roster before did not have.
 * @param before the earlier roster; null for a peer that was not in a roster
 */
export function newcomersOf(before: Roster | null, roster: Roster): readonly Member[] {
  if (before === null) return roster.members
  // Members stand in the order of joining, and their ids increase in this order.
  const known = roster.members.findLastIndex(({ id }) => id < before.nextId)
  return roster.members.slice(known + 1)
}

/** A roster that goes back to the checkpoint of `step`: no member holds a stage, and no step has been made since. */
function backTo(step: number, next: Roster): Roster {
  const members = next.members.map((member) => ({ ...member, stage: null, ready: true }))
  const nothing = { learningRate: 0, norm: 0, loss: null, version: 0 }
  return { ...next, fenceEpoch: next.epoch, committed: step, ...nothing, members }
}

/** The roster of the next epoch, which `change` makes from `roster`. */
export function applyChange(roster: Roster, change: Change): Roster {
  const { coordinator, ballot } = change
  const next = { ...roster, epoch: roster.epoch + 1, coordinator, ballot }
  switch (change.type) {
    case 'commit': {
      const { step, learningRate, norm, loss, version } = change
      return { ...next, committed: step, learningRate, norm, loss, version }
    }
    case 'rollback':
      return backTo(change.step, next)
    case 'reshard': {
      const { origin, stages: resharded } = change
      return { ...backTo(origin.step, next), origin, resharded }
    }
    case 'members': {
      const leaving = new Set(change.leave)
      const assigned = new Map(change.assign.map((assignment) => [assignment.id, assignment]))
      const moved = new Map(change.move?.map((move) => [move.id, move]))
      const staying = roster.members.filter(({ id }) => !leaving.has(id))
      const joining = change.join.map((newcomer, i) => ({
        ...newcomer,
        id: roster.nextId + i,
        stage: null,
        ready: true,
      }))
      return {
        ...next,
        fenceEpoch: change.restart ? next.epoch : roster.fenceEpoch,
        nextId: roster.nextId + joining.length,
        members: [...staying, ...joining].map((member) => {
          const assignment = assigned.get(member.id)
          const move = moved.get(member.id)
          return assignment || move ? { ...member, ...assignment, ...move } : member
        }),
      }
    }
  }
}
