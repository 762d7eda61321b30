/** Who of the roster is lost, for all that the coordinator knows; and whether those who are left are a quorum. */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { Journal } from '../base/journal.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { Deposed, noMajority, stranded } from '../membership/agreement.ts'
import { isQuorum, memberById, memberOf } from '../membership/roster.ts'

export interface LostMembersOptions {
  readonly clock: Clock
  readonly journal: Journal
  readonly signal: AbortSignal
  roster(): Roster
  /** Asks a member for a sign of life. */
  reach(member: Member): Promise<unknown>
  /** This one is known to be lost from now on. */
  lost(member: Member): void
  /** Nobody is lost that held this stage. */
  returned(stage: number): void
}

export class LostMembers {
  readonly #options: LostMembersOptions
  /** Why, by id. */
  readonly #lost = new Map<number, string>()
  /** Those of them whose only fault is that they did not answer. */
  readonly #silent = new Set<number>()
  /** Members that a change is being carried out by: rejects for one that is lost meanwhile. */
  readonly #carrying = new Map<number, PromiseWithResolvers<never>>()

  constructor(options: LostMembersOptions) {
    this.#options = options
  }

  get ids(): readonly number[] {
    return [...this.#lost.keys()]
  }

  get members(): Member[] {
    const roster = this.#options.roster()
    return this.ids.flatMap((id) => memberById(roster, id) ?? [])
  }

  has(id: number): boolean {
    return this.#lost.has(id)
  }

  /** It is lost, for a reason that does not go away. */
  add(peer: PeerId, reason: string): void {
    const { journal, roster, lost } = this.#options
    const member = memberOf(roster(), peer)
    if (member === undefined || this.#lost.has(member.id)) return
    const { id, stage } = member
    this.#lost.set(id, reason)
    journal.write({ type: 'lost', lost: peer, stage, reason })
    this.#carrying.get(id)?.reject(new ProtocolError('PEER_LOST', `${peer} is lost: ${reason}`))
    lost(member)
  }

  /** It does not answer, for all that this peer can hear. */
  miss(peer: PeerId, reason: string): void {
    const member = memberOf(this.#options.roster(), peer)
    if (member !== undefined && !this.#lost.has(member.id)) this.#silent.add(member.id)
    this.add(peer, reason)
  }

  /** It is out of the roster. */
  forget(id: number): void {
    this.#lost.delete(id)
    this.#silent.delete(id)
  }

  /** Rejects when this member is lost, until `carried`. */
  lossOf(id: number): Promise<never> {
    const loss = this.#carrying.get(id) ?? Promise.withResolvers<never>()
    this.#carrying.set(id, loss)
    loss.promise.catch(() => {})
    const reason = this.#lost.get(id)
    if (reason !== undefined) loss.reject(new ProtocolError('PEER_LOST', reason))
    return loss.promise
  }

  /** The change is carried out, by all who are not lost. */
  carried(): void {
    this.#carrying.clear()
  }

  /**
   * Waits until those who answer are a quorum. A coordinator that hears nobody for a while holds all others for lost:
   * proposed then, their going would be accepted by these very members once they are heard again, and leave a roster of few.
   * @throws Deposed if that takes very long, or a member knows of a roster without this one
   */
  async quorum(): Promise<void> {
    const { clock, journal, signal, roster } = this.#options
    const begun = clock.now()
    for (let attempt = 1; ; attempt++) {
      const { members } = roster()
      const heard = members.filter(({ id }) => !this.#silent.has(id))
      if (isQuorum(roster(), new Set(heard.map(({ id }) => id)))) return
      if (attempt === 2) journal.write(noMajority(heard.length, members.length))
      const ms = clock.now() - begun
      if (ms > TIMEOUTS.strandedMs) throw stranded(ms)
      if (attempt > 1) await clock.sleep(TIMEOUTS.retryMs, signal)
      await Promise.all(members.map(({ id }) => this.#lookAgain(id)))
      signal.throwIfAborted()
    }
  }

  /** Who was held for lost, and answers, is not. */
  async #lookAgain(id: number): Promise<void> {
    const { journal, roster, reach, returned } = this.#options
    const member = memberById(roster(), id)
    if (member === undefined || !this.#silent.has(id)) return
    const { peer, stage } = member
    try {
      await reach(member)
    } catch (error) {
      // Those that it did not hear have gone on without it.
      const isOut = error instanceof ProtocolError && error.code === 'NOT_MEMBER'
      if (isOut) throw new Deposed(peer, error.message)
      return
    }
    this.forget(id)
    this.#carrying.delete(id)
    if (stage !== null) returned(stage)
    const message = `${peer} answers again, and is not lost`
    journal.write({ type: 'notice', message })
  }
}
