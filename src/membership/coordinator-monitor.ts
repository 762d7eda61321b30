/**
 * Detects on each member that the coordinator is lost. A member that has heard nothing for `silenceMs` asks the
 * coordinator once more. Then the members campaign for its place in the order of joining, each a little later than the
 * one before it. A quorum decides.
 */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { Lateness } from './lateness.ts'
import { coordinatorOf } from './roster.ts'
import { askForSignOfLife } from './sign-of-life.ts'

/** Options of the monitor: the state that it reads, and the functions that it calls. */
export interface CoordinatorMonitorOptions {
  readonly network: Network
  readonly clock: Clock
  readonly runId: string
  readonly signal: AbortSignal
  /** Latest roster; null while this peer is not in a roster. */
  roster(): Roster | null
  /** This peer's entry in the roster. */
  own(): Member | undefined
  /** Called before each check, every few seconds. */
  beforeCheck?(): void
  /** True if the roster names this peer as coordinator, but other members have promised a later ballot. */
  deposed(): boolean
  /** Called when the coordinator has a roster without this peer. */
  dropped(reason: string): void
  /**
   * Called when the coordinator is lost and this member is the next to campaign. Resolves after the campaign.
   * @param lostMs time for which this member has known no coordinator, in milliseconds
   */
  tryToTakeOver(reason: string, lostMs: number): Promise<void>
}

/** Watches the coordinator and starts this member's campaigns. */
export class CoordinatorMonitor {
  readonly #options: CoordinatorMonitorOptions
  #heardAt: number
  /**
   * The coordinator after its connection broke or it did not answer, until it answers a question. Its other messages are
   * no sign of life: a dead coordinator's last messages may be read after its connection broke.
   */
  #suspect: PeerId | null = null
  /** Time at which this member found the coordinator lost; null while the coordinator is not lost. */
  #lostSince: number | null = null
  readonly #lateness: Lateness
  #yieldingUntil = Number.NEGATIVE_INFINITY

  constructor(options: CoordinatorMonitorOptions) {
    this.#options = options
    this.#lateness = new Lateness(options.clock)
    this.#heardAt = options.clock.now()
  }

  /** Records a message of the coordinator. */
  heard(): void {
    this.#heardAt = this.#options.clock.now()
  }

  /** Called when another member campaigns: this member waits for the result before its own campaign. */
  yield(): void {
    this.#yieldingUntil = this.#options.clock.now() + 2 * TIMEOUTS.campaignMs
  }

  /** True if the coordinator sent a message within `silenceMs` and is not suspect. */
  get hearsCoordinator(): boolean {
    const known = this.#options.roster()
    const suspected = known !== null && this.#suspect === coordinatorOf(known).peer
    return !suspected && this.#silentMs < TIMEOUTS.silenceMs
  }

  /** For how long this member has known no coordinator, in milliseconds; null while it knows one. */
  get lostMs(): number | null {
    return this.#lostSince === null ? null : this.#options.clock.now() - this.#lostSince
  }

  get #silentMs(): number {
    return this.#options.clock.now() - this.#heardAt
  }

  /** Time until the next check, in milliseconds. */
  get #waitMs(): number {
    const { roster, own } = this.#options
    const listens =
      roster() !== null && roster()!.coordinator !== own()?.id && this.hearsCoordinator
    // Rounded up: a fraction of a millisecond can vanish when it is added to a large clock value.
    return listens ? Math.ceil(TIMEOUTS.silenceMs - this.#silentMs) : TIMEOUTS.heartbeatMs
  }

  /** Watches the coordinator until the signal aborts. */
  async run(): Promise<void> {
    const { network, signal, roster } = this.#options
    let wake = () => {}
    const removeLost = network.onLost((peer) => {
      const known = roster()
      if (known === null || peer !== coordinatorOf(known).peer) return
      this.#suspect = peer
      wake()
    })
    try {
      for (;;) {
        // A new promise for each round: `Promise.race` leaves a callback on a promise that stays pending.
        const broken = Promise.withResolvers<void>()
        wake = broken.resolve
        await Promise.race([this.#lateness.sleep(this.#waitMs, signal), broken.promise])
        this.#options.beforeCheck?.()
        await this.#check()
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      removeLost()
    }
  }

  async #check(): Promise<void> {
    const { clock, signal, roster, own, deposed, tryToTakeOver } = this.#options
    const known = roster()
    const self = own()
    if (known === null || self === undefined) return
    if (self.id === known.coordinator) {
      if (deposed()) {
        await tryToTakeOver(
          'others have promised not to listen to this peer any more',
          this.#countLostMs(),
        )
      }
      return
    }
    if (this.hearsCoordinator) {
      this.#lostSince = null
      return
    }
    const failure = await this.#failureOf(known)
    if (failure === null) return this.#answered()
    const { peer } = coordinatorOf(known)
    this.#suspect = peer
    // The time without a coordinator starts here, also while other members campaign first.
    this.#countLostMs()
    const foundLostAt = clock.now()
    const others = known.members.filter(({ id }) => id !== known.coordinator)
    const rank = others.findIndex(({ id }) => id === self.id)
    await clock.sleep(rank * TIMEOUTS.staggerMs, signal)
    // Another member may have become the coordinator meanwhile, or the coordinator may have come back.
    if (roster()?.epoch !== known.epoch) return
    if (clock.now() < this.#yieldingUntil) return
    if (this.#heardAt > foundLostAt && (await this.#failureOf(known)) === null)
      return this.#answered()
    await tryToTakeOver(`the coordinator ${peer} is lost (${failure})`, this.#countLostMs())
  }

  #answered(): void {
    this.#suspect = null
    this.#lostSince = null
    this.heard()
  }

  #countLostMs(): number {
    const now = this.#options.clock.now()
    this.#lostSince ??= now
    return now - this.#lostSince
  }

  /** Asks the coordinator for a heartbeat, at last over a new connection. Gives the reason of a failure; null if the coordinator answers. */
  async #failureOf(roster: Roster): Promise<string | null> {
    const { network, runId, signal } = this.#options
    const { peer, session } = coordinatorOf(roster)
    try {
      const answer = await this.#lateness.patiently(signal, () =>
        askForSignOfLife(network, peer, runId, roster.epoch, signal),
      )
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
