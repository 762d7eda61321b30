/**
 * A member's eye on the coordinator. Who hears nothing for long asks once more; then the longest-standing of the others
 * asks for its place, and after it the next, each a little later: a quorum decides.
 */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { heartbeat, type Member, type Roster } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { coordinatorOf } from './roster.ts'

export interface CoordinatorMonitorOptions {
  readonly network: Network
  readonly clock: Clock
  readonly runId: string
  readonly signal: AbortSignal
  /** Null while this peer is in none. */
  roster(): Roster | null
  /** This peer in the roster. */
  own(): Member | undefined
  /** The roster names this peer as the coordinator, but others have promised not to listen to it. */
  deposed(): boolean
  /** The coordinator knows of a roster without this peer. */
  dropped(reason: string): void
  /**
   * The coordinator is lost, and it is this member's turn. Resolves when it has tried.
   * @param lostMs for how long nobody has coordinated, as far as this member knows
   */
  standIn(reason: string, lostMs: number): Promise<void>
}

export class CoordinatorMonitor {
  readonly #options: CoordinatorMonitorOptions
  #heardAt: number
  /**
   * The coordinator whose connection broke, or who did not answer, until it answers. What comes of it unasked is no sign of
   * life: a dead one's last words may be read after its connection was seen to break.
   */
  #suspect: PeerId | null = null
  /** When this member first found the coordinator lost; null while it is not. */
  #lostSince: number | null = null
  #yieldingUntil = Number.NEGATIVE_INFINITY

  constructor(options: CoordinatorMonitorOptions) {
    this.#options = options
    this.#heardAt = options.clock.now()
  }

  /** The coordinator has just said something. */
  heard(): void {
    this.#heardAt = this.#options.clock.now()
  }

  /** Another asks for the coordinator's place: this member lets it try before it asks itself. */
  yield(): void {
    this.#yieldingUntil = this.#options.clock.now() + 2 * TIMEOUTS.campaignMs
  }

  /** Nothing speaks against the coordinator: it was heard of lately. */
  get content(): boolean {
    const known = this.#options.roster()
    const suspected = known !== null && this.#suspect === coordinatorOf(known).peer
    return !suspected && this.#silentMs < TIMEOUTS.silenceMs
  }

  get #silentMs(): number {
    return this.#options.clock.now() - this.#heardAt
  }

  /** Until there may be something to look at: a coordinator that was just heard of is not silent for some time. */
  get #patienceMs(): number {
    const { roster, own } = this.#options
    const listens = roster() !== null && roster()!.coordinator !== own()?.id && this.content
    // Whole milliseconds: a smaller rest of one may be no time at all beside what the clock says.
    return listens ? Math.ceil(TIMEOUTS.silenceMs - this.#silentMs) : TIMEOUTS.heartbeatMs
  }

  /** Until the signal aborts. */
  async run(): Promise<void> {
    const { clock, network, signal, roster } = this.#options
    let wake = () => {}
    const removeLost = network.onLost((peer) => {
      const known = roster()
      if (known === null || peer !== coordinatorOf(known).peer) return
      this.#suspect = peer
      wake()
    })
    try {
      for (;;) {
        // One a turn: whoever waits for a promise that lasts stays in it.
        const broken = Promise.withResolvers<void>()
        wake = broken.resolve
        await Promise.race([clock.sleep(this.#patienceMs, signal), broken.promise])
        await this.#look()
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      removeLost()
    }
  }

  async #look(): Promise<void> {
    const { clock, signal, roster, own, deposed, standIn } = this.#options
    const known = roster()
    const self = own()
    if (known === null || self === undefined) return
    if (self.id === known.coordinator) {
      if (deposed()) {
        await standIn('others have promised not to listen to this peer any more', this.#lostMs())
      }
      return
    }
    if (this.content) {
      this.#lostSince = null
      return
    }
    const failure = await this.#failureOf(known)
    if (failure === null) return this.#answered()
    const { peer } = coordinatorOf(known)
    this.#suspect = peer
    // Counted from here also while others try first.
    this.#lostMs()
    const since = clock.now()
    const others = known.members.filter(({ id }) => id !== known.coordinator)
    const rank = others.findIndex(({ id }) => id === self.id)
    await clock.sleep(rank * TIMEOUTS.staggerMs, signal)
    // Somebody else has taken over meanwhile, or the coordinator has come back.
    if (roster()?.epoch !== known.epoch) return
    if (clock.now() < this.#yieldingUntil) return
    if (this.#heardAt > since && (await this.#failureOf(known)) === null) return this.#answered()
    await standIn(`the coordinator ${peer} is lost (${failure})`, this.#lostMs())
  }

  #answered(): void {
    this.#suspect = null
    this.#lostSince = null
    this.heard()
  }

  #lostMs(): number {
    const now = this.#options.clock.now()
    this.#lostSince ??= now
    return now - this.#lostSince
  }

  /** Null if it answers. */
  async #failureOf(roster: Roster): Promise<string | null> {
    const { network, runId, signal } = this.#options
    const { peer, session } = coordinatorOf(roster)
    try {
      const question = { run: runId, epoch: roster.epoch }
      const timeoutMs = TIMEOUTS.reconnectMs
      const answer = await ask(network, peer, heartbeat, question, { timeoutMs, signal })
      return answer.session === session ? null : 'another process has taken its name'
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof ProtocolError && error.code === 'NOT_MEMBER') {
        this.#options.dropped(error.message)
        return null
      }
      return (error as Error).message
    }
  }
}
