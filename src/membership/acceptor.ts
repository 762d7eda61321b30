/**
 * A member's memory of what the swarm agrees on: the roster that it knows, the highest ballot that it has promised, and
 * the change that it has accepted for the next epoch. What it has said it never takes back; a process that forgets (it
 * was started again) is another member.
 *
 * One value an epoch is chosen by single-decree Paxos (Lamport, "Paxos made simple") among the members of the roster
 * before it. Three rules make that hold while members change:
 * - Without asking for promises, only the coordinator that a roster names may propose its next epoch, under the ballot
 *   that the roster names; anyone else needs promises of a quorum of that very roster, under a higher ballot.
 * - A ballot has one value an epoch. Whoever asks for another one under it has forgotten the first, and is refused.
 * - A value that was found accepted is proposed again as it is, its author's ballot included; whoever does so asks for
 *   promises again in the epoch that it makes.
 */
import type {
  Change,
  PromiseAnswer,
  PromiseQuestion,
  ProposeQuestion,
} from '../../protocols/agreement.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Ballot, Roster } from '../../protocols/membership.ts'
import { applyChange, compareBallots } from './roster.ts'

interface Accepted {
  readonly ballot: Ballot
  /** That the change would make. */
  readonly epoch: number
  readonly change: Change
}

export class Acceptor {
  #roster: Roster
  #promised: Ballot
  #seenRound: number
  #accepted: Accepted | null = null

  constructor(roster: Roster) {
    this.#roster = roster
    this.#promised = roster.ballot
    this.#seenRound = roster.ballot.round
  }

  get roster(): Roster {
    return this.#roster
  }

  /** A ballot of this member above all that it has heard of. */
  nextBallot(id: number): Ballot {
    return { round: Math.max(this.#seenRound, this.#promised.round) + 1, id }
  }

  /** Another has promised this one. */
  see({ round }: Ballot): void {
    this.#seenRound = Math.max(this.#seenRound, round)
  }

  propose({ ballot, epoch, change }: ProposeQuestion) {
    const answer = (accepted: boolean) => ({
      accepted,
      ballot: this.#promised,
      epoch: this.#roster.epoch,
    })
    // Of an epoch that is decided, or that does not follow what is known here: the answer says which.
    if (epoch !== this.#roster.epoch + 1) return answer(false)
    if (compareBallots(ballot, this.#promised) < 0) return answer(false)
    if (this.#contradicts(ballot, epoch, change)) return answer(false)
    this.#promised = ballot
    this.#accepted = { ballot, epoch, change }
    return answer(true)
  }

  #contradicts(ballot: Ballot, epoch: number, change: Change): boolean {
    const known = this.#accepted
    if (known?.epoch !== epoch || compareBallots(known.ballot, ballot) !== 0) return false
    return JSON.stringify(known.change) !== JSON.stringify(change)
  }

  /** @param objection why this member wants no other coordinator; null if it would like one */
  promise({ ballot, epoch }: PromiseQuestion, objection: string | null): PromiseAnswer {
    const known = this.#roster.epoch
    const reason =
      epoch < known
        ? `epoch ${known} is known here`
        : compareBallots(ballot, this.#promised) <= 0
          ? 'a higher ballot was promised'
          : (objection ?? '')
    if (reason === '') this.#promised = ballot
    return {
      promised: reason === '',
      ballot: this.#promised,
      epoch: known,
      accepted: reason === '' ? this.#accepted : null,
      reason,
    }
  }

  /** Carries out what was chosen. @throws ProtocolError STALE if epochs before it are not known here */
  install(epoch: number, change: Change): void {
    if (epoch <= this.#roster.epoch) return
    if (epoch > this.#roster.epoch + 1) {
      throw new ProtocolError('STALE', `epoch ${epoch}; this peer is at ${this.#roster.epoch}`)
    }
    this.adopt(applyChange(this.#roster, change))
  }

  /** Takes over a whole roster that was chosen. */
  adopt(roster: Roster): void {
    if (roster.epoch <= this.#roster.epoch) return
    this.#roster = roster
    if (compareBallots(roster.ballot, this.#promised) > 0) this.#promised = roster.ballot
    if (this.#accepted !== null && this.#accepted.epoch <= roster.epoch) this.#accepted = null
  }
}
