/** Decides how peers that came back continue their run: from which history and step, and with which roster. */
import type { Holding } from '../../protocols/copies.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { History } from '../../protocols/return.ts'
import { incarnationId } from '../membership/incarnation.ts'
import { isOfLineage, type Offer, type ReturnStep, returnStep } from '../recovery/return-step.ts'
import type { Run } from '../run/run.ts'

/** A peer that came back, and what is on its disk. */
export interface Returner extends Pick<Member, 'peer' | 'session' | 'addresses' | 'domain'> {
  readonly history: History | null
  readonly holdings: readonly Holding[]
}

export interface ReturnPlan {
  /** The history that is continued. */
  readonly history: History
  readonly found: ReturnStep
  /** The first roster. It gives no member a stage. */
  readonly roster: Roster
  /** True if every stage is exactly as after the step on some disk. */
  readonly isWhole: boolean
  /** Members of the last known roster that did not come back. */
  readonly absent: readonly Pick<Member, 'peer' | 'addresses'>[]
}

/** The peer that founds: the smallest peer id. */
export function founderOf(peers: readonly PeerId[]): PeerId {
  return peers.reduce((a, b) => (a < b ? a : b))
}

/** @returns null if no disk has a state */
export function planReturn(run: Run, runId: string, all: readonly Returner[]): ReturnPlan | null {
  const history = latestHistory(all.flatMap(({ history }) => history ?? []))
  if (history === null) return null
  const { branches, roster: last } = history
  const offers: Offer[] = all.flatMap(({ peer, holdings }) =>
    holdings
      .filter((holding) => isOfLineage(branches, holding))
      .map((holding) => ({ ...holding, peer })),
  )
  const found = returnStep(run, offers)
  if (found === null) return null
  const members = membersOf(last, all)
  const founder = members.find(({ peer }) => peer === founderOf(all.map(({ peer }) => peer)))!
  const epoch = last.epoch + 1
  const roster: Roster = {
    ...last,
    epoch,
    fenceEpoch: epoch,
    committed: found.step,
    // Null would say that the swarm went back to a checkpoint.
    loss: found.loss ?? last.loss,
    coordinator: founder.id,
    ballot: { round: last.ballot.round + 1, id: founder.id },
    nextId: last.nextId + members.length,
    members,
  }
  const isWhole = found.exact.length === run.stages + 1
  const peers = new Set(all.map(({ peer }) => peer))
  const absent = last.members.filter(({ peer }) => !peers.has(peer))
  return { history, found, roster, isWhole, absent }

  function latestHistory(histories: readonly History[]): History | null {
    const rank = ({ lineage: { record }, roster: { committed } }: History) => [
      record?.number ?? 0,
      committed,
    ]
    return histories.reduce<History | null>((best, each) => {
      if (best === null) return each
      const [a, b] = [rank(best), rank(each)]
      const difference = b[0]! - a[0]! || b[1]! - a[1]!
      if (difference !== 0) return difference > 0 ? each : best
      const id = (history: History) => incarnationId(runId, history.lineage.record)
      return id(each) < id(best) ? each : best
    }, null)
  }
}

/** Members in the order of the last roster, then those that it did not name. All are new: they have promised nothing. */
function membersOf(last: Roster, all: readonly Returner[]): Member[] {
  const rank = new Map(last.members.map(({ peer }, i) => [peer, i]))
  const rankOf = (peer: PeerId) => rank.get(peer) ?? last.members.length
  const sorted = all.toSorted(
    (a, b) => rankOf(a.peer) - rankOf(b.peer) || (a.peer < b.peer ? -1 : 1),
  )
  return sorted.map(({ peer, session, addresses, domain }, i) => {
    const who = { id: last.nextId + i, peer, session, addresses, domain, host: '' }
    return { ...who, stage: null, ready: true }
  })
}
