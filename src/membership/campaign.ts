/** The campaign of Paxos: a member asks for promises, to become the coordinator. */
import type { Change, PromiseAnswer } from '../../protocols/agreement.ts'
import * as agreement from '../../protocols/agreement.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Ballot, Member, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { type AgreementOptions, sendRoster } from './agreement.ts'
import { compareBallots, isQuorum, votersOf } from './roster.ts'

/** The result of a campaign. */
type Campaign =
  /**
   * A quorum of the voters of `roster` has promised, so that the ballot is good for the epoch after it only. `pending` is
   * a change accepted before, which has to be proposed again first.
   */
  | {
      readonly result: 'elected'
      readonly ballot: Ballot
      readonly roster: Roster
      readonly pending: Change | null
    }
  /** `peers` say that they know a later epoch. */
  | { readonly result: 'behind'; readonly peers: readonly PeerId[] }
  /** `answering`: ids of the members that answered. */
  | {
      readonly result: 'refused'
      readonly reason: string
      readonly answering: ReadonlySet<number>
    }

/** The answers of the members to one campaign. */
class Votes {
  readonly #roster: Roster
  readonly #promised = new Set<number>()
  /** Ids of members that have promised, or have not answered yet. */
  readonly #willing: Set<number>
  readonly #reasons: string[] = []
  readonly #answering = new Set<number>()
  #pending: PromiseAnswer['accepted'] = null
  readonly #ahead: PeerId[] = []
  readonly #decided = Promise.withResolvers<void>()

  constructor(roster: Roster) {
    this.#roster = roster
    this.#willing = new Set(roster.members.map(({ id }) => id))
  }

  /** Resolves when further answers cannot change the result. */
  get decided(): Promise<void> {
    return this.#decided.promise
  }

  add({ id, peer }: Member, { promised, epoch, accepted, reason }: PromiseAnswer): void {
    this.#answering.add(id)
    if (!promised) {
      this.#reasons.push(reason)
      if (epoch > this.#roster.epoch) this.#ahead.push(peer)
      this.#refuses(id)
      return
    }
    this.#promised.add(id)
    const isPending = accepted !== null && accepted.epoch === this.#roster.epoch + 1
    const known = this.#pending
    if (isPending && (known === null || compareBallots(accepted.ballot, known.ballot) > 0)) {
      this.#pending = accepted
    }
    if (isQuorum(this.#roster, this.#promised)) this.close()
  }

  /** The member says that it has a later roster, which does not name this peer. */
  addAhead({ id, peer }: Member): void {
    this.#ahead.push(peer)
    this.#refuses(id)
  }

  /** If the other members are too few, the campaign does not wait for the lost coordinator's answer. */
  #refuses(id: number): void {
    this.#willing.delete(id)
    if (!isQuorum(this.#roster, this.#willing)) this.close()
  }

  addFailure(error: Error): void {
    this.#reasons.push(error.message)
  }

  /** Ends the count. */
  close(): void {
    this.#decided.resolve()
  }

  result(ballot: Ballot): Campaign {
    if (isQuorum(this.#roster, this.#promised)) {
      const pending = this.#pending?.change ?? null
      return { result: 'elected', ballot, roster: this.#roster, pending }
    }
    if (this.#ahead.length > 0) return { result: 'behind', peers: this.#ahead }
    const voting = votersOf(this.#roster)
    const promised = [...this.#promised].filter((id) => voting.has(id)).length
    const count = `${promised} of ${voting.size} voting members promise`
    const reasons = [count, ...new Set(this.#reasons)]
    const reason = reasons.join('; ').slice(0, 1000)
    return { result: 'refused', reason, answering: this.#answering }
  }
}

/** Asks all members for promises, under a ballot that is higher than every known one. */
export async function campaign(options: AgreementOptions, own: Member): Promise<Campaign> {
  const { network, runId, acceptor, signal } = options
  const { roster } = acceptor
  const ballot = acceptor.nextBallot(own.id)
  const question = { run: runId, ballot, epoch: roster.epoch }
  const votes = new Votes(roster)
  const asked = roster.members.map(async (member) => {
    const { peer } = member
    try {
      const timeoutMs = TIMEOUTS.rosterMs
      const answer = await ask(network, peer, agreement.promise, question, { timeoutMs, signal })
      if (!answer.promised) acceptor.observe(answer.ballot)
      votes.add(member, answer)
    } catch (error) {
      if (error instanceof ProtocolError && error.code === 'NOT_MEMBER') votes.addAhead(member)
      votes.addFailure(error as Error)
      // The member was admitted and does not know it yet. It can promise in the next campaign, not at once: it counts the
      // new roster as a sign of life of the coordinator.
      if (error instanceof ProtocolError && error.code === 'STALE') {
        await sendRoster(options, member, roster)
      }
    }
  })
  void Promise.all(asked).then(() => votes.close())
  await votes.decided
  signal.throwIfAborted()
  return votes.result(ballot)
}
