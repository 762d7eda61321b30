/** Who waits to be let into the roster, to be let out of it, or to be found at other addresses. */

import type { Move } from '../../protocols/agreement.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { heartbeat, type Member, type Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { Offences } from '../../protocols/offences.ts'
import { ask } from '../../protocols/procedure.ts'
import { Shunned } from '../../protocols/shunned.ts'
import { ABSENCES, LEAVE_MARGIN_MS, NEWCOMERS_MAX, RESTARTS_MAX, TIMEOUTS } from '../base/limits.ts'
import type { HelloQuestion, MovedQuestion } from '../holder/coordination.ts'
import type { AgreementOptions } from '../membership/agreement.ts'
import { isFresh, memberOf } from '../membership/roster.ts'
import type { ChangeSignal } from './change-signal.ts'
import type { Health } from './health.ts'
import type { Urgency } from './placement.ts'
import type { WorkFaults } from './work-faults.ts'

export interface AdmissionsOptions extends AgreementOptions {
  readonly bodyStages: number
  /** The stage that the coordinator itself insists on, or null. */
  readonly wish: number | null
  readonly health: Health
  readonly faults: WorkFaults
  readonly changed: ChangeSignal
  /** Called when members must leave now. */
  leavingNow(): void
}

export type Newcomer = Omit<Member, 'id' | 'stage' | 'ready'>

interface Leaving {
  /** When the member stops in any case, in milliseconds of the clock. Null if it waits for no joiner. */
  readonly until: number | null
  readonly urgency: Urgency
  readonly gone: PromiseWithResolvers<void>
}

export class Admissions {
  readonly #options: AdmissionsOptions
  #newcomers: Newcomer[] = []
  /** By id. */
  readonly #leaving = new Map<number, Leaving>()
  /** New addresses of members, by id. */
  readonly #moves = new Map<number, Move>()
  readonly #wishes = new Map<PeerId, number | null>()
  /** Counts newcomers of a peer, and of a network, that never took part. */
  readonly #absences: Offences
  /** Counts processes of a member that take the place of earlier ones. */
  readonly #restarts: Offences
  /** When each member moved last, by id, in milliseconds of the clock. */
  readonly #movedAt = new Map<number, number>()
  /** Peers and networks whose newcomers are not let in for a while. */
  readonly #turnedAway: Shunned

  constructor(options: AdmissionsOptions) {
    this.#options = options
    this.#absences = new Offences(options.clock, ABSENCES.most, ABSENCES.windowMs)
    this.#restarts = new Offences(options.clock, RESTARTS_MAX, ABSENCES.windowMs)
    this.#turnedAway = new Shunned(options.clock)
    this.#wishes.set(options.network.self, options.wish)
  }

  /** Number of peers that wait to be let in, or to be found at other addresses. */
  get waiting(): number {
    return this.#newcomers.length + this.#moves.size
  }

  /** Members that want to leave, by id. */
  get leaving(): ReadonlyMap<number, Leaving> {
    return this.#leaving
  }

  /** The stage that each peer insists on, or null. */
  get wishes(): ReadonlyMap<PeerId, number | null> {
    return this.#wishes
  }

  get #roster(): Roster {
    return this.#options.acceptor.roster
  }

  /** The peer waits to be let in from now on. @throws ProtocolError if it cannot be let in */
  async admit(
    from: PeerId,
    { addresses, session, domain, stage, resumes }: HelloQuestion,
  ): Promise<void> {
    const { network, changed } = this.#options
    const host = network.hostOf(from)
    this.#check(from, host, stage, resumes)
    // A peer asks again when the answer came too late for it: it waits already, or is in.
    if (this.#newcomers.some((each) => each.peer === from && each.session === session)) return
    const known = memberOf(this.#roster, from)
    if (known?.session === session) return
    if (this.#newcomers.length >= NEWCOMERS_MAX) {
      throw new ProtocolError('BUSY', `${NEWCOMERS_MAX} newcomers wait to be let in already`)
    }
    if (known !== undefined) {
      if (this.#restarts.note(from)) this.#turnedAway.add(from, TIMEOUTS.shunMs)
      await this.#replace(known)
    }
    const earlier = this.#newcomers.findIndex(({ peer }) => peer === from)
    if (earlier >= 0) this.#newcomers.splice(earlier, 1)
    this.#wishes.set(from, stage)
    this.#newcomers.push({ peer: from, session, addresses, domain, host: host! })
    network.learn(from, addresses)
    changed.notify()
  }

  /**
   * These newcomers did not carry out the first roster that named them, for which all had to wait. Newcomers that never take
   * part could slow each step down.
   */
  neverCame(newcomers: readonly Pick<Member, 'peer' | 'host'>[]): void {
    // A network that breaks down takes many newcomers with it at once.
    const names = new Set(
      newcomers.flatMap(({ peer, host }) => (host === '' ? peer : [peer, host])),
    )
    for (const who of names) {
      if (this.#absences.note(who)) this.#turnedAway.add(who, TIMEOUTS.shunMs)
    }
  }

  /** @param host the network that the peer dials from; null if its connection is gone */
  #check(from: PeerId, host: string | null, stage: number | null, resumes: boolean): void {
    const { bodyStages, faults } = this.#options
    if (host === null) throw new ProtocolError('BUSY', 'the connection is gone: ask again')
    const refusal = faults.refusalOf(from)
    if (refusal !== null) throw new ProtocolError('REFUSED', refusal)
    if ([from, host].some((who) => this.#turnedAway.has(who))) {
      const minutes = TIMEOUTS.shunMs / 60_000
      // Not REFUSED, which ends a search for good.
      throw new ProtocolError(
        'BUSY',
        `newcomers of this peer, or of its network, were let in again and again and did not take part: it is let in after ${minutes} minutes. See whether the members reach it`,
      )
    }
    if (stage !== null && stage > bodyStages) {
      const which = `stages are 0..${bodyStages}`
      throw new ProtocolError('REFUSED', `stage ${stage} of ${bodyStages + 1}: ${which}`)
    }
    if (resumes && this.#roster.origin === null && isFresh(this.#roster)) {
      throw new ProtocolError(
        'REFUSED',
        'That run was started without --resume: stop its peers, and start the first one with --resume.',
      )
    }
  }

  /** Another process has the name of a member. Either the member is gone, or two processes have one key. */
  async #replace({ peer, session }: Member): Promise<void> {
    const { network, runId, signal, health } = this.#options
    const question = { run: runId, epoch: this.#roster.epoch }
    const options = { timeoutMs: TIMEOUTS.reconnectMs, signal }
    const answer = await ask(network, peer, heartbeat, question, options).catch(() => null)
    if (answer?.session === session) {
      throw new ProtocolError(
        'REFUSED',
        `another process with the identity ${peer} is in the run: give each its own --data-dir`,
      )
    }
    health.lose(peer, 'it was restarted')
  }

  /**
   * Resolves when the member is out of the roster, and its stage in other hands if somebody can take it. A member that
   * asks again may leave earlier than it said before, and never later.
   * @param withinMs milliseconds until the member stops in any case; null if it waits for no joiner
   */
  async leave(from: PeerId, reason: string, withinMs: number | null): Promise<void> {
    const { clock, journal, changed, signal } = this.#options
    const known = memberOf(this.#roster, from)
    if (known === undefined) return
    const before = this.#leaving.get(known.id)
    const gone = before?.gone ?? Promise.withResolvers<void>()
    gone.promise.catch(() => {})
    const until = withinMs === null ? null : clock.now() + withinMs
    if (before === undefined || (until === null && before.urgency === 'patient')) {
      const urgency = until === null ? 'hasty' : 'patient'
      this.#leaving.set(known.id, { until, urgency, gone })
      journal.write({ type: 'notice', message: `${from} is about to leave: ${reason}` })
    }
    changed.notify()
    if (withinMs !== null) {
      clock.sleep(Math.max(0, withinMs - LEAVE_MARGIN_MS), signal).then(
        () => this.#leaveNow(known.id),
        () => {},
      )
    }
    await gone.promise
  }

  /**
   * The member's time is almost over. All members whose time ends soon leave in one change, while they can still vote: one
   * after another, they could be gone before the last change.
   */
  #leaveNow(id: number): void {
    const { clock, changed, leavingNow } = this.#options
    if (this.#leaving.get(id)?.urgency !== 'patient') return
    const soon = clock.now() + 2 * LEAVE_MARGIN_MS
    for (const [each, leaving] of this.#leaving) {
      const ends = leaving.until !== null && leaving.until <= soon
      if (ends) this.#leaving.set(each, { ...leaving, urgency: 'now' })
    }
    changed.notify()
    leavingNow()
  }

  /** The next roster gives the member these addresses. @throws ProtocolError NOT_MEMBER */
  moved(from: PeerId, { session, addresses }: MovedQuestion): void {
    const { network, changed } = this.#options
    const known = memberOf(this.#roster, from)
    if (known?.session !== session) {
      throw new ProtocolError('NOT_MEMBER', `${from} is not in the roster`)
    }
    const { id } = known
    const due = this.#moves.get(id)?.addresses ?? known.addresses
    // A member says so again until the roster has it.
    if (due.join() === addresses.join()) return
    // A member that moves all the time would keep the others from their step. It says so again.
    const now = this.#options.clock.now()
    if (now - (this.#movedAt.get(id) ?? Number.NEGATIVE_INFINITY) < TIMEOUTS.movePauseMs) return
    this.#movedAt.set(id, now)
    network.learn(from, addresses)
    this.#moves.set(id, { id, addresses })
    changed.notify()
  }

  /** The first members that have moved, `max` at most. They wait until the roster says so. */
  takeMoves(max: number): Move[] {
    return [...this.#moves.values()].slice(0, max)
  }

  /** The roster has these addresses. A member may have moved again meanwhile. */
  hasMoved(moves: readonly Move[]): void {
    for (const move of moves) if (this.#moves.get(move.id) === move) this.#moves.delete(move.id)
  }

  /** The first newcomers, `max` at most. They wait until they are in the roster: one that asks again is not let in twice. */
  take(max: number): Newcomer[] {
    return this.#newcomers.slice(0, max)
  }

  /** These newcomers are in the roster. */
  admitted(newcomers: readonly Newcomer[]): void {
    this.#newcomers = this.#newcomers.filter((each) => !newcomers.some((it) => isSame(it, each)))
  }

  /** The member is out of the roster. Its name may wait to be let in again, with a wish of its own. */
  forget({ id, peer }: Member): void {
    this.#leaving.get(id)?.gone.resolve()
    this.#leaving.delete(id)
    this.#moves.delete(id)
    this.#movedAt.delete(id)
    if (!this.#newcomers.some((newcomer) => newcomer.peer === peer)) this.#wishes.delete(peer)
  }

  /** This peer does not coordinate any more: peers that wait to join or to leave ask another. */
  end(reason: ProtocolError): void {
    for (const { peer } of this.#newcomers) {
      if (!memberOf(this.#roster, peer)) this.#options.network.forget(peer)
    }
    for (const { gone } of this.#leaving.values()) gone.reject(reason)
  }
}

/** True for the same process, which has the same name and session. */
function isSame(a: Newcomer, b: Newcomer): boolean {
  return a.peer === b.peer && a.session === b.session
}
