/**
 * Who is alive, as the coordinator sees it. A broken connection is the fast sign, a missed heartbeat the slow one (a
 * frozen peer keeps its connection), a neighbour's report a third; each is only a suspicion until the peer has failed to
 * answer once more.
 */
import type { Clock } from '../../protocols/clock.ts'
import { heartbeat, type Member, type Roster } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { memberOf } from '../membership/roster.ts'

export interface LivenessOptions {
  readonly network: Network
  readonly clock: Clock
  readonly runId: string
  readonly signal: AbortSignal
  roster(): Roster
  /** The suspicion is confirmed. */
  lose(peer: PeerId, reason: string): void
}

export class Liveness {
  readonly #options: LivenessOptions
  readonly #confirming = new Map<PeerId, Promise<void>>()
  readonly #heardAt = new Map<PeerId, number>()

  constructor(options: LivenessOptions) {
    this.#options = options
    const { network, signal } = options
    const remove = network.onLost((peer) => void this.suspect(peer, 'its connection broke'))
    signal.addEventListener('abort', remove, { once: true })
    void this.#beat()
  }

  /** A member has just answered something: it need not be asked whether it is there. */
  heard(peer: PeerId): void {
    this.#heardAt.set(peer, this.#options.clock.now())
  }

  /** Asks a member for a sign of life; without one it is lost. Suspicions of one peer at one time are one. */
  suspect(peer: PeerId, reason: string): Promise<void> {
    const { network, roster, signal, lose } = this.#options
    const member = memberOf(roster(), peer)
    if (signal.aborted || member === undefined || peer === network.self) return Promise.resolve()
    const known = this.#confirming.get(peer)
    if (known !== undefined) return known
    const confirming = this.#ask(member, TIMEOUTS.reconnectMs)
      .then(
        () => {},
        (error: Error) => {
          if (!signal.aborted) lose(peer, `${reason}; ${error.message}`)
        },
      )
      .finally(() => this.#confirming.delete(peer))
    this.#confirming.set(peer, confirming)
    return confirming
  }

  /** Microbatches that a member could work on now. Rejects if it does not answer. */
  queuedWorkOf(member: Member): Promise<number> {
    return this.#ask(member, TIMEOUTS.reconnectMs)
  }

  /** Every suspicion of this moment has become certainty. */
  async settled(): Promise<void> {
    await Promise.all(this.#confirming.values())
  }

  async #ask({ peer, session }: Member, timeoutMs: number): Promise<number> {
    const { network, runId, roster, signal } = this.#options
    const question = { run: runId, epoch: roster().epoch }
    const answer = await ask(network, peer, heartbeat, question, { timeoutMs, signal })
    if (answer.session !== session) throw new Error('another process has taken its name')
    this.heard(peer)
    return answer.queuedWork
  }

  async #beat(): Promise<void> {
    const { clock, network, roster, signal } = this.#options
    const asked = new Set<PeerId>()
    while (!signal.aborted) {
      const { members } = roster()
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
      await clock.sleep(TIMEOUTS.heartbeatMs, signal).catch(() => {})
    }
  }
}
