/** How the coordinator changes the roster: a change is chosen by a quorum, then carried out by all members. */
import { type Change, JOINS_MAX } from '../../protocols/agreement.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Ballot, Member, Roster } from '../../protocols/membership.ts'
import * as membership from '../../protocols/membership.ts'
import { ask } from '../../protocols/procedure.ts'
import { FINISH_ATTEMPTS, TIMEOUTS } from '../base/limits.ts'
import { type AgreementOptions, choose, Deposed, type Proposal } from '../membership/agreement.ts'
import { fitting } from '../membership/change-size.ts'
import { dismiss, installAll, spread } from '../membership/install.ts'
import { compareBallots, memberById, memberOf } from '../membership/roster.ts'
import type { Admissions } from './admissions.ts'
import { deviating } from './digests.ts'
import type { Health } from './health.ts'
import type { MembersChange } from './next-action.ts'
import { isSuspicious } from './round.ts'

export interface RosterChangesOptions extends AgreementOptions {
  /** The coordinator's ballot. */
  readonly term: Ballot
  readonly health: Health
  readonly admissions: Admissions
  /** All that remembers something of members: told of each one that is out of the roster. */
  readonly memories: readonly { forget(id: number): void }[]
}

/** The coordinator has left in order, and another member has its place. */
export class HandedOver extends Error {
  override readonly name = 'HandedOver'
}

/** The run has ended here and goes on with fewer stages. */
export class Resharded extends Error {
  override readonly name = 'Resharded'
}

/** A change that a quorum has accepted. Nothing undoes it. */
interface Chosen {
  readonly change: Change
  readonly before: Roster
  readonly after: Roster
}

export class RosterChanges {
  readonly #options: RosterChangesOptions
  #isFit = true
  #isStepAbandoned = false

  constructor(options: RosterChangesOptions) {
    this.#options = options
  }

  /** False if this peer could not carry out the last change: the roster gives it a stage that it does not hold any more. */
  get isFit(): boolean {
    return this.#isFit
  }

  /** True if the step in hand was given up, so that the next change must start it over. */
  get isStepAbandoned(): boolean {
    return this.#isStepAbandoned
  }

  /** This peer's stage does not get on: the next change takes it away. */
  loseStage(): void {
    this.#isFit = false
  }

  abandonStep(): void {
    this.#isStepAbandoned = true
  }

  get #roster(): Roster {
    return this.#options.acceptor.roster
  }

  /** Tells all members the roster that names this coordinator: others would refuse what it asks. */
  async announce(): Promise<void> {
    const { journal, health } = this.#options
    const { epoch } = this.#roster
    journal.write({ type: 'roster', roster: this.#roster, reason: 'this peer coordinates' })
    for (const { member, failure } of await spread(this.#options, this.#roster)) {
      health.miss(member.peer, `it does not know epoch ${epoch}: ${failure!.message}`)
    }
  }

  /** Lets newcomers in and lost members out, beside what is asked for. Waits until the members that answer are a quorum. */
  async changeMembers(asked: MembersChange): Promise<void> {
    const { health, admissions } = this.#options
    const { reason, restart = false, assign = [], leave = [] } = asked
    await health.quorum()
    const leaving = [...health.lost.ids, ...leave]
    // If no newcomer ever hears of the roster, the members that stay must be a quorum of its voters. Holders alone are one.
    // While nobody holds a stage, all members vote, so that never more newcomers come than members stay.
    const left = this.#roster.members.length - leaving.length
    const join = admissions.take(Math.min(JOINS_MAX, left))
    const move = admissions.takeMoves(JOINS_MAX).filter(({ id }) => !leaving.includes(id))
    // A member that is lost, though it is there, reads its own loss in the reason.
    const why = leaving.length === leave.length ? reason : `${reason}; lost ${health.lost.summary}`
    const changed = { join, leave: leaving, assign: [...assign], move, restart, reason: cut(why) }
    await this.agree(fitting({ type: 'members', ...changed }))
    if (restart) this.#isStepAbandoned = false
  }

  /** All members go back to the checkpoint of this step. No stage has a holder then. */
  async rollBack(step: number): Promise<void> {
    await this.agree({ type: 'rollback', step, reason: `back to the checkpoint of step ${step}` })
    this.#isStepAbandoned = false
  }

  /** Has a quorum choose the change, and all members carry it out. @throws Deposed if another member coordinates */
  async agree(proposal: Proposal): Promise<void> {
    const { health } = this.#options
    const blamed = health.lost.members.filter(({ id }) => !health.lost.isSilent(id))
    const chosen = await this.#choose(proposal)
    if (proposal.type === 'members') {
      const { admissions } = this.#options
      for (const id of proposal.leave) this.#forget(memberById(chosen.before, id)!)
      admissions.admitted(proposal.join)
      admissions.hasMoved(proposal.move ?? [])
      for (const { peer } of blamed) {
        if (memberOf(chosen.after, peer) === undefined) {
          void dismiss(this.#options, peer, chosen.after, chosen.change)
        }
      }
    }
    await this.#carryOut(chosen)
  }

  async #choose(proposal: Proposal): Promise<Chosen> {
    const { term } = this.#options
    const before = this.#ownRoster
    const change: Change = { ...proposal, coordinator: before.coordinator, ballot: term }
    const after = await choose(this.#options, before, term, change)
    return { change, before, after }
  }

  /** The latest roster, under which this peer coordinates. @throws Deposed if it names another ballot */
  get #ownRoster(): Roster {
    const { signal, term } = this.#options
    signal.throwIfAborted()
    const { epoch, ballot } = this.#roster
    if (compareBallots(ballot, term) === 0) return this.#roster
    throw new Deposed(null, `epoch ${epoch} has the ballot of another coordinator`)
  }

  /** The member is out of the roster. */
  #forget(member: Member): void {
    const { health, memories, admissions } = this.#options
    health.forget(member.id)
    for (const each of memories) each.forget(member.id)
    admissions.forget(member)
  }

  /** Has all members carry the change out. A member that does not is lost. @throws if this peer does not */
  async #carryOut({ change, before, after }: Chosen): Promise<void> {
    const { journal, network, health, admissions } = this.#options
    if (change.type !== 'commit') {
      journal.write({ type: 'roster', roster: after, reason: change.reason })
    }
    const lossOf = ({ id }: Member) => health.lost.lossOf(id)
    const installed = await installAll(this.#options, before, after, change, lossOf)
    health.lost.carriedOut()
    this.#isFit = true
    const absent = installed.filter(
      ({ member, failure }) => failure !== null && memberById(before, member.id) === undefined,
    )
    admissions.neverCame(absent.map(({ member }) => member))
    for (const { member, failure } of installed) {
      const { peer, stage } = member
      if (failure === null) {
        health.heard(peer)
      } else if (peer === network.self) {
        const isDefinite = failure instanceof ProtocolError && failure.definite
        this.#isFit = stage === null || !isDefinite
        throw failure
      } else {
        health.miss(peer, `it did not carry out epoch ${after.epoch}: ${failure.message}`)
      }
    }
    for (const { member, reason } of deviating(installed)) {
      if (member.peer === network.self) this.#isFit = false
      else health.lose(member.peer, reason)
    }
  }

  /**
   * The last change of a coordinator: it names the next one, and the step starts over.
   * @param successor null if there is no other member
   * @param fault why this peer steps down, and stays a member with its stage; null if it leaves
   * @throws HandedOver when it is done
   */
  async handOver(successor: Member | null, fault: string | null = null): Promise<never> {
    if (successor !== null) {
      const before = this.#ownRoster
      const change: Change = {
        type: 'members',
        coordinator: successor.id,
        ballot: { round: before.ballot.round + 1, id: successor.id },
        join: [],
        leave: fault === null ? [before.coordinator] : [],
        assign: [],
        restart: true,
        reason: fault ?? 'the coordinator leaves',
      }
      const after = await choose(this.#options, before, before.ballot, change)
      // This peer's own part of the change ends its signal. The other members must be told all the same.
      const { signal } = new AbortController()
      await installAll({ ...this.#options, signal }, before, after, change)
    }
    throw new HandedOver('this peer has left, and another coordinates')
  }

  /**
   * Hands over for a fault of this peer, to the next member in the order of joining that answers.
   * @returns false if no other member could be named in time
   */
  async stepDown(fault: string): Promise<boolean> {
    const { clock, health, admissions } = this.#options
    const { members, coordinator } = this.#roster
    const place = members.findIndex(({ id }) => id === coordinator)
    // Those before this peer may have stepped down before it.
    const successor = [...members.slice(place + 1), ...members.slice(0, place)].find(
      ({ id }) => !health.lost.has(id) && !admissions.leaving.has(id),
    )
    if (successor === undefined) return false
    const handedOver = this.handOver(successor, fault.slice(0, 256)).catch(
      (error: Error) => error instanceof HandedOver,
    )
    return Promise.race([handedOver, clock.sleep(TIMEOUTS.stepDownMs).then(() => false)])
  }

  /** Ends the run here, so that it goes on with fewer stages. @throws Resharded when it is done */
  async reshard(proposal: Proposal): Promise<never> {
    const { clock, signal } = this.#options
    const { change, before, after } = await this.#choose(proposal)
    // A member that does not hear of it now is told when it asks for the coordinator.
    const late = clock.sleep(TIMEOUTS.reconnectMs, signal).then(() => {
      throw new ProtocolError('TIMEOUT', 'it did not enter the successor run in time')
    })
    late.catch(() => {})
    await installAll(this.#options, before, after, change, () => late)
    throw new Resharded('the run goes on with fewer stages')
  }

  /** Tells all members that the run is over. A member that cannot be told finds out when nobody answers it. */
  async announceEnd(failure: string | null): Promise<void> {
    const { network, clock, runId } = this.#options
    const { committed, members } = this.#roster
    const reason = failure?.slice(0, membership.FAILURE_LENGTH) ?? null
    const question = { run: runId, committed, failure: reason }
    const options = { timeoutMs: TIMEOUTS.rosterMs }
    let untold = members.filter(({ peer }) => peer !== network.self)
    for (let attempt = 1; untold.length > 0 && attempt <= FINISH_ATTEMPTS; attempt++) {
      if (attempt > 1) await clock.sleep(TIMEOUTS.retryMs)
      const told = await Promise.allSettled(
        untold.map(({ peer }) => ask(network, peer, membership.finish, question, options)),
      )
      untold = untold.filter((_, i) => isUnsure(told[i]!))
    }
  }
}

/** As much of a reason as a change of the roster may have. */
function cut(reason: string): string {
  return reason.slice(0, 256)
}

/** The member may not have heard, and may be alive. Or the roster that names this coordinator has not come there yet. */
function isUnsure(told: PromiseSettledResult<unknown>): boolean {
  if (told.status === 'fulfilled') return false
  const error: ProtocolError = told.reason
  return isSuspicious(error) || error.code === 'STALE'
}
