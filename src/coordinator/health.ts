/**
 * Which members are suspected, and which are lost. A broken connection is the fast sign of a loss. A missed heartbeat is the
 * slow one: a frozen peer keeps its connection. A neighbour's report is the third. Each is only a suspicion until the peer
 * has failed to answer once more.
 */
import { ProtocolError } from '../../protocols/errors.ts'
import { heartbeat, type Member, type Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { HOLD_ATTEMPTS, TIMEOUTS } from '../base/limits.ts'
import type { Work } from '../holder/services.ts'
import { type AgreementOptions, Deposed, stranded } from '../membership/agreement.ts'
import { Lateness } from '../membership/lateness.ts'
import { isHolder, isQuorum, memberById, memberOf } from '../membership/roster.ts'
import { askForSignOfLife } from '../membership/sign-of-life.ts'
import type { ChangeSignal } from './change-signal.ts'
import { LostMembers } from './lost-members.ts'

export interface HealthOptions extends AgreementOptions {
  readonly changed: ChangeSignal
}

export class Health {
  /** The members that are lost and still in the roster. */
  readonly lost: LostMembers
  readonly #options: HealthOptions
  readonly #heardAt = new Map<PeerId, number>()
  readonly #lateness: Lateness
  /** Suspicions that are being looked into. */
  readonly #confirming = new Map<PeerId, Promise<void>>()
  /** How often each member failed to build or synchronize a stage, by id. */
  readonly #failures = new Map<number, number>()
  readonly #listeners = new Set<(reason: string) => void>()

  constructor(options: HealthOptions) {
    this.#options = options
    this.lost = new LostMembers(options)
    this.#lateness = new Lateness(options.clock)
    const { network, signal } = options
    const remove = network.onLost((peer) => void this.suspect(peer, 'its connection broke'))
    signal.addEventListener('abort', remove, { once: true })
    void this.#beat()
  }

  get #roster(): Roster {
    return this.#options.acceptor.roster
  }

  /** The member has just answered, and needs no heartbeat for a while. */
  heard(peer: PeerId): void {
    this.#heardAt.set(peer, this.#options.clock.now())
  }

  /** Asks a member for a sign of life. A member that gives none is lost. Several suspicions of one peer are one question. */
  suspect(peer: PeerId, reason: string): Promise<void> {
    const { network, signal } = this.#options
    const member = memberOf(this.#roster, peer)
    if (signal.aborted || member === undefined || peer === network.self) return Promise.resolve()
    const known = this.#confirming.get(peer)
    if (known !== undefined) return known
    const confirming = this.#lateness
      .patiently(signal, () => this.#askAnew(member))
      .catch((error: Error) => {
        if (!signal.aborted) this.miss(peer, [...new Set([reason, error.message])].join('; '))
      })
      .finally(() => this.#confirming.delete(peer))
    this.#confirming.set(peer, confirming)
    return confirming
  }

  /** Waits until every suspicion of this moment has been confirmed or dropped. */
  async settled(): Promise<void> {
    await Promise.all(this.#confirming.values())
  }

  /** Members that are lost and still in the roster, once every suspicion of this moment is confirmed or dropped. */
  async losses(): Promise<Member[]> {
    await this.settled()
    return this.lost.members
  }

  /** The member is lost, for a reason that does not go away. */
  lose(peer: PeerId, reason: string): void {
    this.#lose(peer, reason, false)
  }

  /** The member is lost, and its only fault is that it does not answer. */
  miss(peer: PeerId, reason: string): void {
    this.#lose(peer, reason, true)
  }

  #lose(peer: PeerId, reason: string, isSilent: boolean): void {
    const member = memberOf(this.#roster, peer)
    // A roster without its coordinator would name nobody who coordinates. This peer can lose its stage only.
    const isOwn = peer === this.#options.network.self
    if (member === undefined || isOwn || this.lost.has(member.id)) return
    this.lost.add(member, { reason, isSilent })
    // No step needs a spare, or a replica that is not ready. The roster loses them before the next step.
    if (isHolder(member)) {
      const what = `stage ${member.stage} lost its holder ${peer}`
      for (const listener of this.#listeners) listener(what)
    }
    this.#options.changed.notify()
  }

  /** Calls back when a member is lost that holds a stage. @returns what ends that */
  onHolderLost(listener: (reason: string) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Counts that a member failed to build or synchronize a stage. True if it has failed too often to be asked again. */
  failsTooOften(id: number): boolean {
    const failures = (this.#failures.get(id) ?? 0) + 1
    this.#failures.set(id, failures)
    return failures >= HOLD_ATTEMPTS
  }

  /** The member is out of the roster. */
  forget(id: number): void {
    this.lost.forget(id)
    this.#failures.delete(id)
  }

  /** What a member has to do now; null if it does not answer. */
  async workOf(member: Member): Promise<Work | null> {
    return this.#ask(member, TIMEOUTS.reconnectMs).catch(() => null)
  }

  /**
   * Waits until the members that answer are a quorum. A coordinator that hears nobody for a while holds all others for
   * lost. If it proposed a roster without them then, they would accept it once they are heard again, and few would be left.
   * @throws Deposed if that takes too long, or a member knows of a roster without this peer
   */
  async quorum(): Promise<void> {
    const { clock, minority, signal } = this.#options
    const begun = clock.now()
    for (let attempt = 1; ; attempt++) {
      const { members } = this.#roster
      const answering = new Set(members.flatMap(({ id }) => (this.lost.isSilent(id) ? [] : id)))
      if (isQuorum(this.#roster, answering)) return
      const ms = clock.now() - begun
      if (attempt > 1) await minority(ms, this.#roster, answering)
      signal.throwIfAborted()
      if (ms > TIMEOUTS.strandedMs) throw stranded(ms)
      if (attempt > 1) await clock.sleep(TIMEOUTS.retryMs, signal)
      await Promise.all(members.map(({ id }) => this.#lookAgain(id)))
      signal.throwIfAborted()
    }
  }

  /** A silent member that answers is not lost. */
  async #lookAgain(id: number): Promise<void> {
    const member = memberById(this.#roster, id)
    if (member === undefined || !this.lost.isSilent(id)) return
    const { peer } = member
    try {
      await this.#askAnew(member)
    } catch (error) {
      // The members that this peer did not hear have gone on without it.
      const isOut = error instanceof ProtocolError && error.code === 'NOT_MEMBER'
      if (isOut) throw new Deposed(peer, error.message)
      return
    }
    this.lost.restore(member)
    const message = `${peer} answers again, and is not lost`
    this.#options.journal.write({ type: 'notice', message })
  }

  /** @throws if the member does not answer */
  async #ask({ peer, session }: Member, timeoutMs: number): Promise<Work> {
    const { network, clock, runId, signal } = this.#options
    const question = { run: runId, epoch: this.#roster.epoch }
    const askedAt = clock.now()
    const answer = await ask(network, peer, heartbeat, question, { timeoutMs, signal })
    if (answer.session !== session) throw new Error('another process has its peer id')
    this.heard(peer)
    this.#lateness.note(clock.now() - askedAt)
    return answer
  }

  /** As `#ask`, and over a new connection if the standing one gives no answer. */
  async #askAnew({ peer, session }: Member): Promise<void> {
    const { network, runId, signal } = this.#options
    const answer = await askForSignOfLife(network, peer, runId, this.#roster.epoch, signal)
    if (answer.session !== session) throw new Error('another process has its peer id')
    this.heard(peer)
  }

  /** Sends heartbeats to members that have not been heard for a while. */
  async #beat(): Promise<void> {
    const { clock, network, signal } = this.#options
    const asked = new Set<PeerId>()
    while (!signal.aborted) {
      const { members } = this.#roster
      const present = new Set(members.map(({ peer }) => peer))
      for (const peer of this.#heardAt.keys()) if (!present.has(peer)) this.#heardAt.delete(peer)
      for (const member of members) {
        const { peer } = member
        const silentMs = clock.now() - (this.#heardAt.get(peer) ?? Number.NEGATIVE_INFINITY)
        if (peer === network.self || asked.has(peer) || silentMs < TIMEOUTS.heartbeatMs) continue
        asked.add(peer)
        void this.#ask(member, TIMEOUTS.silenceMs)
          .catch((error: Error) => this.suspect(peer, error.message))
          .finally(() => asked.delete(peer))
      }
      await this.#lateness.sleep(TIMEOUTS.heartbeatMs, signal).catch(() => {})
    }
  }
}
