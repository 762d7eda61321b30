/**
 * The roster as one member knows it. The member carries out changes of the roster one after another. If it has missed
 * changes, it fetches the whole roster. If a roster does not name it, it drops out.
 */
import type { Change } from '../../protocols/agreement.ts'
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Lineage } from '../../protocols/incarnation.ts'
import type { Ballot, Member as Entry, Origin, Roster } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import type { Journal } from '../base/journal.ts'
import { Acceptor } from '../membership/acceptor.ts'
import { type AgreementOptions, fetchRoster } from '../membership/agreement.ts'
import type { Belief } from '../membership/belief.ts'
import type { Incarnation } from '../membership/incarnation.ts'
import type { Start } from '../membership/member-events.ts'
import {
  compareBallots,
  coordinatorOf,
  foundingRoster,
  memberOf,
  ROSTERS,
  type RosterSource,
} from '../membership/roster.ts'
import { RosterAddresses } from '../membership/roster-addresses.ts'

/** A roster that is new to this member, and names it. */
export interface RosterChange {
  /** The roster that the member followed before; null for its first. */
  readonly before: Roster | null
  readonly roster: Roster
  /** This member's entry in `roster`. */
  readonly own: Entry
  /** The change that made `roster`; null if the roster was fetched whole. */
  readonly change: Change | null
}

export interface RosterFollowerOptions {
  readonly runId: string
  readonly network: Network
  readonly clock: Clock
  readonly journal: Journal
  readonly signal: AbortSignal
  /** The session and roster of a process that continues from another run; null for one that begins. */
  readonly start: Start | null
  readonly incarnation: Incarnation
  readonly belief: Pick<Belief, 'believes'>
  /** Members of one process may share the rosters that they make. Without this option each makes its own. */
  readonly rosters?: RosterSource
  /** Does what the roster says to the parts of this member. @returns a digest of its weights, or null */
  carryOut(change: RosterChange): Promise<string | null>
  /** The run continues without this peer: frees everything that belongs to it. */
  dropped(reason: string): Promise<void>
  /** Called again and again while no majority answers a coordinator. */
  minority: AgreementOptions['minority']
}

export class RosterFollower {
  readonly rosters: RosterSource
  readonly #options: RosterFollowerOptions
  readonly #addresses: RosterAddresses
  #session: number
  #acceptor: Acceptor | null = null
  /** Resolves when all changes so far are carried out. */
  #carriedOut: Promise<unknown> = Promise.resolve()

  constructor(options: RosterFollowerOptions) {
    const { start, clock, rosters = ROSTERS } = options
    this.rosters = rosters
    this.#options = options
    this.#addresses = new RosterAddresses(options.network)
    this.#session = start?.session ?? Math.floor(clock.now())
    if (start === null || start.roster === null) return
    this.#acceptor = this.#accept(start.roster)
    this.#addresses.follow(null, start.roster, null)
  }

  /** Tells this process, and what it has promised, from others with the same peer id. */
  get session(): number {
    return this.#session
  }

  /** The roster as far as this peer knows it; null while it is in none. */
  get roster(): Roster | null {
    return this.#acceptor?.roster ?? null
  }

  /** This process in the roster. */
  get own(): Entry | undefined {
    const member =
      this.roster === null ? undefined : memberOf(this.roster, this.#options.network.self)
    return member?.session === this.session ? member : undefined
  }

  /** Null while this peer is in no roster. */
  get acceptor(): Acceptor | null {
    return this.#acceptor
  }

  /** @throws ProtocolError STALE while this peer is in no roster */
  expectAcceptor(): Acceptor {
    if (this.#acceptor !== null) return this.#acceptor
    throw new ProtocolError('STALE', 'this peer knows of no roster that it is in')
  }

  /**
   * Options of the agreement, for a member that proposes changes in the present incarnation.
   * @throws ProtocolError STALE while this peer is in no roster
   */
  agreement(signal: AbortSignal): AgreementOptions {
    const { incarnation } = this.#options
    const network = incarnation.within(this.#options.network)
    return { ...this.#options, network, acceptor: this.expectAcceptor(), signal }
  }

  /** Makes a roster of this peer alone, which it coordinates. */
  found(domain: string, origin: Origin | undefined): Roster {
    const { network } = this.#options
    const addresses = [...network.addresses]
    const founder = { peer: network.self, session: this.session, addresses, domain }
    this.#acceptor = this.#accept(foundingRoster(founder, origin))
    return this.#acceptor.roster
  }

  /** True if the roster names this peer as the coordinator, under this ballot. */
  isElected(ballot: Ballot): boolean {
    const { roster, own } = this
    if (roster === null || roster.coordinator !== own?.id) return false
    return compareBallots(roster.ballot, ballot) === 0
  }

  /** Runs `work` after all changes so far, and before the next one. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#carriedOut.then(work)
    this.#carriedOut = done.catch(() => {})
    return done
  }

  /** Resolves when all changes so far are carried out. */
  async settled(): Promise<void> {
    await this.#carriedOut
  }

  /**
   * Carries out a change that was chosen, after all changes before it.
   * @param whole the roster that the change makes, for a member that may not know the one before
   * @throws ProtocolError STALE if changes are missing, NOT_MEMBER if the roster does not name this peer
   */
  install(epoch: number, change: Change | null, whole: Roster | undefined) {
    const { incarnation } = this.#options
    const { id } = incarnation
    return this.inTurn(() => {
      if (incarnation.id === id) return this.#install(epoch, change, whole)
      throw new ProtocolError('STALE', 'this peer is in another incarnation of the run now')
    })
  }

  /**
   * Goes on in a new incarnation of the run, with its founding roster. Nothing of the earlier one is promised, accepted or
   * carried out from now on.
   * @param roster names this process
   */
  incarnate(lineage: Lineage, roster: Roster): void {
    const { incarnation, carryOut } = this.#options
    const before = this.roster
    incarnation.enter(lineage)
    const acceptor = this.#accept(roster)
    this.#acceptor = acceptor
    this.#addresses.follow(before, roster, null)
    void this.inTurn(async () => {
      const { own } = this
      if (this.#acceptor !== acceptor || own === undefined) return
      await carryOut({ before, roster, own, change: null })
    }).catch(() => {})
  }

  /** Enters another incarnation of the run, in which this peer is in no roster yet. */
  async enter(lineage: Lineage, reason: string): Promise<void> {
    this.#options.incarnation.enter(lineage)
    await this.drop(reason)
  }

  /** Fetches the roster of a peer that knows a later epoch, and carries it out. */
  async catchUp(peer: PeerId): Promise<void> {
    const { signal, journal, incarnation, belief } = this.#options
    try {
      const { id } = incarnation
      const fetched = await fetchRoster(this.agreement(signal), peer, this.rosters.decode)
      if (fetched.incarnation !== id) {
        throw new ProtocolError('STALE', `${peer} is in another incarnation of the run`)
      }
      const coordinator = coordinatorOf(fetched.roster).peer
      if (!(await belief.believes(coordinator, peer))) {
        throw new ProtocolError('REFUSED', `other members do not follow ${coordinator}`)
      }
      await this.install(fetched.roster.epoch, null, fetched.roster)
    } catch (error) {
      signal.throwIfAborted()
      // The peer may follow the run that this one became.
      if (error instanceof ProtocolError && error.code === 'NOT_MEMBER') {
        return this.drop(error.message)
      }
      const message = `could not learn the roster from ${peer}: ${(error as Error).message}`
      journal.write({ type: 'notice', message })
    }
  }

  /** Leaves the roster: the run continues without this peer. Has no effect if the peer is in none. */
  async drop(reason: string): Promise<void> {
    if (this.#acceptor === null) return
    this.#acceptor = null
    // The promises of this session are forgotten. A peer that joins again must count as another process.
    this.#session = Math.max(this.#session + 1, Math.floor(this.#options.clock.now()))
    await this.#options.dropped(reason)
  }

  #accept(roster: Roster): Acceptor {
    return new Acceptor(roster, this.rosters)
  }

  async #install(epoch: number, change: Change | null, whole: Roster | undefined) {
    const { signal, carryOut } = this.#options
    signal.throwIfAborted()
    const before = this.roster
    const acceptor = this.#advance(epoch, change, whole)
    const { roster } = acceptor
    if (roster.epoch === before?.epoch) return { epoch: roster.epoch, digest: null }
    this.#addresses.follow(before, roster, change)
    const { own } = this
    if (own === undefined) {
      await this.drop(`epoch ${roster.epoch} does not name this peer: ${reasonOf(change)}`)
      throw new ProtocolError('NOT_MEMBER', 'this peer is not in that roster')
    }
    try {
      const digest = await carryOut({ before, roster, own, change })
      return { epoch: roster.epoch, digest }
    } catch (error) {
      if (this.#acceptor === acceptor) throw error
      // Dropping freed the stage while the change was carried out.
      throw new ProtocolError('NOT_MEMBER', 'this peer was dropped meanwhile', { cause: error })
    }
  }

  #advance(epoch: number, change: Change | null, whole: Roster | undefined): Acceptor {
    if (this.#acceptor === null) {
      if (whole === undefined) throw new ProtocolError('STALE', 'this peer is not in a roster')
      if (memberOf(whole, this.#options.network.self)?.session !== this.session) {
        throw new ProtocolError('NOT_MEMBER', 'that roster names another process of this peer')
      }
      this.#acceptor = this.#accept(whole)
    } else if (whole !== undefined) {
      this.#acceptor.adopt(whole)
    } else if (change !== null) {
      this.#acceptor.install(epoch, change)
    }
    return this.#acceptor
  }
}

/** Why a roster was made, for the journal. */
export function reasonOf(change: Change | null): string {
  if (change === null) return 'the roster was fetched later'
  return change.type === 'commit' ? `step ${change.step}` : change.reason
}
