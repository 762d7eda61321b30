/**
 * The acceptor of Paxos, one for each member. It stores the member's roster, the highest promised ballot, and the change
 * accepted for the next epoch. A member never withdraws a promise or an acceptance. A process that was started again has
 * forgotten both, so that it joins as another member.
 *
 * Single-decree Paxos (Lamport, "Paxos made simple") chooses one change for each epoch, among the voters of the roster
 * before it (`votersOf`). The voters are a function of that roster, so all proposers of an epoch count the same ones. Who
 * knows a roster knows that its epoch is decided, and proposes no other change for that epoch. Four rules keep it correct
 * while members change:
 * - The coordinator named by a roster may propose the next epoch without asking for promises, under the ballot named by
 *   that roster. Any other member needs promises of a quorum of the same roster's voters, under a higher ballot.
 * - Promises count for the epoch after the roster that the candidate had when it asked. If another roster comes to the
 *   candidate meanwhile, the candidate proposes nothing: a quorum of the earlier voters need not meet one of the later.
 * - A ballot has one change for each epoch. A proposal of a second change under the same ballot is refused.
 * - A candidate proposes an accepted change again unchanged, with its author's ballot. The candidate then asks for
 *   promises again in the epoch that the change makes.
 */
import type {
  Change,
  PromiseAnswer,
  PromiseQuestion,
  ProposeQuestion,
} from '../../protocols/agreement.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Ballot, Roster } from '../../protocols/membership.ts'
import { compareBallots, ROSTERS, type RosterSource } from './roster.ts'

interface Accepted {
  readonly ballot: Ballot
  /** Epoch that the change makes. */
  readonly epoch: number
  readonly change: Change
}

/**
 * Rounds by which a ballot may exceed the one promised before. A member that lies could use up all rounds at once
 * otherwise, and no ballot would be higher.
 */
const BALLOT_ROUNDS_MAX = 2 ** 32

/** Rounds by which a refusal may move a candidate's next ballot: far fewer, so that the ballot is not refused for it. */
const OBSERVED_ROUNDS_MAX = 2 ** 16

/** One member's side of the agreement on rosters. */
export class Acceptor {
  readonly rosters: RosterSource
  #roster: Roster
  #promised: Ballot
  #seenRound: number
  #accepted: Accepted | null = null
  /** Ids of members that got a promise, or an acceptance, since the last roster came here. */
  readonly #candidates = new Set<number>()

  constructor(roster: Roster, rosters = ROSTERS) {
    this.rosters = rosters
    this.#roster = roster
    this.#promised = roster.ballot
    this.#seenRound = roster.ballot.round
  }

  /** Latest roster that this member knows. */
  get roster(): Roster {
    return this.#roster
  }

  /** A ballot of this member that is higher than every ballot it knows. */
  nextBallot(id: number): Ballot {
    return { round: Math.max(this.#seenRound, this.#promised.round) + 1, id }
  }

  /** Records a ballot that another member has promised. A round far beyond all others is not believed. */
  observe({ round }: Ballot): void {
    const believed = Math.min(round, this.#promised.round + OBSERVED_ROUNDS_MAX)
    this.#seenRound = Math.max(this.#seenRound, believed)
  }

  /** True if this member got a promise, or an acceptance, in this epoch. */
  hasPromised(id: number): boolean {
    return this.#candidates.has(id)
  }

  /**
   * Answers a proposal: accepts it unless a promise or an earlier acceptance forbids it.
   * @param objection reason why this member wants no other coordinator than the one that it promised to; null if it has
   *   none
   * @throws ProtocolError REFUSED for this reason: the proposer has its quorum from others
   */
  propose({ ballot, epoch, change }: ProposeQuestion, objection: string | null) {
    const answer = (accepted: boolean) => ({
      accepted,
      ballot: this.#promised,
      epoch: this.#roster.epoch,
    })
    // The epoch is already decided, or does not follow the roster known here. The answer contains the known epoch.
    if (epoch !== this.#roster.epoch + 1) return answer(false)
    if (compareBallots(ballot, this.#promised) < 0) return answer(false)
    if (this.#contradicts(ballot, epoch, change)) return answer(false)
    const refusal = this.#isFarBeyond(ballot) ? `round ${ballot.round} is far too high` : objection
    if (compareBallots(ballot, this.#promised) > 0 && refusal !== null) {
      throw new ProtocolError('REFUSED', refusal)
    }
    this.#candidates.add(ballot.id)
    this.#promised = ballot
    this.#accepted = { ballot, epoch, change }
    return answer(true)
  }

  #isFarBeyond({ round }: Ballot): boolean {
    return round > this.#promised.round + BALLOT_ROUNDS_MAX
  }

  #contradicts(ballot: Ballot, epoch: number, change: Change): boolean {
    const known = this.#accepted
    if (known?.epoch !== epoch || compareBallots(known.ballot, ballot) !== 0) return false
    return JSON.stringify(known.change) !== JSON.stringify(change)
  }

  /**
   * Answers a candidate that asks for a promise.
   * @param objection reason why this member wants no other coordinator; null if it has none
   */
  promise({ ballot, epoch }: PromiseQuestion, objection: string | null): PromiseAnswer {
    const known = this.#roster.epoch
    const reason =
      epoch < known
        ? `epoch ${known} is known here`
        : compareBallots(ballot, this.#promised) <= 0
          ? 'a higher ballot was promised'
          : this.#isFarBeyond(ballot)
            ? `round ${ballot.round} is far too high`
            : (objection ?? '')
    if (reason === '') {
      this.#candidates.add(ballot.id)
      this.#promised = ballot
    }
    return {
      promised: reason === '',
      ballot: this.#promised,
      epoch: known,
      accepted: reason === '' ? this.#accepted : null,
      reason,
    }
  }

  /**
   * Applies a chosen change.
   * @param epoch the epoch that the change makes
   * @throws ProtocolError STALE if this member does not know the epoch before it
   */
  install(epoch: number, change: Change): void {
    if (epoch <= this.#roster.epoch) return
    if (epoch > this.#roster.epoch + 1) {
      throw new ProtocolError('STALE', `epoch ${epoch}; this peer is at ${this.#roster.epoch}`)
    }
    this.adopt(this.rosters.apply(this.#roster, change))
  }

  /** Replaces the roster by a chosen one of a later epoch. */
  adopt(roster: Roster): void {
    if (roster.epoch <= this.#roster.epoch) return
    this.#roster = roster
    this.#candidates.clear()
    if (compareBallots(roster.ballot, this.#promised) > 0) this.#promised = roster.ballot
    if (this.#accepted !== null && this.#accepted.epoch <= roster.epoch) this.#accepted = null
  }
}
