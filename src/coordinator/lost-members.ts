/** The record of members that are lost and still in the roster, and of stages that lost their last holder. */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member } from '../../protocols/membership.ts'
import type { Journal } from '../base/journal.ts'
import type { Acceptor } from '../membership/acceptor.ts'
import { holdersOf, memberById } from '../membership/roster.ts'

export interface LostMembersOptions {
  readonly clock: Clock
  readonly journal: Journal
  readonly acceptor: Acceptor
}

interface Loss {
  readonly reason: string
  /** The member's only fault is that it did not answer: it may answer again. */
  readonly isSilent: boolean
}

export class LostMembers {
  readonly #options: LostMembersOptions
  /** By id. */
  readonly #losses = new Map<number, Loss>()
  /** When each stage without a holder lost its last one. */
  readonly #emptiedAt = new Map<number, number>()
  /** Members that carry a change out now. Each rejects when the member is lost. */
  readonly #carrying = new Map<number, PromiseWithResolvers<never>>()

  constructor(options: LostMembersOptions) {
    this.#options = options
  }

  get ids(): readonly number[] {
    return [...this.#losses.keys()]
  }

  get members(): Member[] {
    const { roster } = this.#options.acceptor
    return this.ids.flatMap((id) => memberById(roster, id) ?? [])
  }

  /** Who is lost and why, for people. */
  get summary(): string {
    return this.members.map(({ id, peer }) => `${peer}: ${this.#losses.get(id)!.reason}`).join('; ')
  }

  has(id: number): boolean {
    return this.#losses.has(id)
  }

  isSilent(id: number): boolean {
    return this.#losses.get(id)?.isSilent ?? false
  }

  add({ id, peer, stage, ready }: Member, loss: Loss): void {
    const { journal, acceptor } = this.#options
    const { reason } = loss
    this.#losses.set(id, loss)
    journal.write({ type: 'lost', lost: peer, stage, reason })
    this.#carrying.get(id)?.reject(new ProtocolError('PEER_LOST', `${peer} is lost: ${reason}`))
    if (stage === null || !ready) return
    const left = holdersOf(acceptor.roster, stage).filter((holder) => !this.has(holder.id))
    if (left.length === 0) this.emptied(stage)
  }

  /** The member answers again, and is not lost. */
  restore({ id, stage }: Member): void {
    this.forget(id)
    this.#carrying.delete(id)
    if (stage !== null) this.filled(stage)
  }

  /** The member is out of the roster. */
  forget(id: number): void {
    this.#losses.delete(id)
  }

  /** Rejects when this member is lost, until {@link carriedOut}. */
  lossOf(id: number): Promise<never> {
    const loss = this.#carrying.get(id) ?? Promise.withResolvers<never>()
    this.#carrying.set(id, loss)
    loss.promise.catch(() => {})
    const known = this.#losses.get(id)
    if (known !== undefined) loss.reject(new ProtocolError('PEER_LOST', known.reason))
    return loss.promise
  }

  /** All members that are not lost have carried the change out. */
  carriedOut(): void {
    this.#carrying.clear()
  }

  /** When the stage lost its last holder, in milliseconds of the clock; undefined if it did not, or that is not known. */
  emptiedAt(stage: number): number | undefined {
    return this.#emptiedAt.get(stage)
  }

  /** The stage has lost its last holder. @param at a time of the clock */
  emptied(stage: number, at: number = this.#options.clock.now()): void {
    this.#emptiedAt.set(stage, at)
  }

  /** The stage has a holder. */
  filled(stage: number): void {
    this.#emptiedAt.delete(stage)
  }
}
