/**
 * Makes one run of two foundings of it. A coordinator that founded the run lately asks the peers that it sees and that its
 * roster does not name. If they are in another founding that stays, the coordinator gives its own up: its members
 * drop their stages, and all of them enter the other one as newcomers.
 *
 * Only an answer `join` makes a coordinator give up, and nobody answers `join` while its own question is open. So of two
 * coordinators that ask each other, one at most gives up.
 */
import { askAfresh } from '../../protocols/ask-afresh.ts'
import type { Clock } from '../../protocols/clock.ts'
import {
  type CompareAnswer,
  type CompareQuestion,
  compareFoundings,
  moveOver,
} from '../../protocols/founding.ts'
import type { Roster } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import type { Journal } from '../base/journal.ts'
import type { KnownMember } from '../base/known-members.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { shortName } from '../base/peer-name.ts'
import { coordinatorOf, memberOf } from './roster.ts'
import { Sightings } from './sightings.ts'

export interface FoundingsOptions {
  readonly network: Network
  readonly clock: Clock
  readonly runId: string
  readonly journal: Journal
  roster(): Roster | null
  /** True while this peer coordinates the run. */
  coordinates(): boolean
  /** Leaves the roster. */
  drop(reason: string): Promise<void>
}

export class Foundings {
  readonly #options: FoundingsOptions
  /** Peers that this peer asks at the moment. */
  readonly #asking = new Set<PeerId>()
  /** Time at which this peer founded the run; null if another one did. */
  #foundedAt: number | null = null
  /** Time until which this peer asks nobody. */
  #quietUntil = Number.NEGATIVE_INFINITY
  /** The roster that was given up; null if none was. */
  #givenUp: Roster | null = null
  /** A peer of the founding that stays, while this peer leaves the other one. */
  #through: KnownMember | undefined

  constructor(options: FoundingsOptions) {
    this.#options = options
  }

  /** Notes that this peer founds the run. */
  begin(): void {
    this.#foundedAt = this.#options.clock.now()
  }

  /** Notes that this peer is in no roster any more. @returns a peer through which it can enter the run, if one is known */
  end(): KnownMember | undefined {
    const through = this.#through
    this.#foundedAt = null
    this.#through = undefined
    return through
  }

  /** Leaves the roster of a founding that is given up, and enters the run through this peer. */
  async moveOver(reason: string, through: KnownMember): Promise<void> {
    this.#through = through
    await this.#options.drop(reason)
  }

  /** True if the peer was a member of the founding that this peer gave up, and may not know it. */
  gaveUp(peer: PeerId): boolean {
    return this.#givenUp !== null && memberOf(this.#givenUp, peer) !== undefined
  }

  /** Answers the coordinator of another founding. */
  answer(from: PeerId, { committed }: CompareQuestion): CompareAnswer {
    const { network, coordinates } = this.#options
    const roster = this.#options.roster()
    if (roster === null) return { result: 'none' }
    const coordinator = coordinatorOf(roster)
    if (coordinator.peer !== network.self) {
      return { result: 'ask', coordinator: coordinator.peer, addresses: coordinator.addresses }
    }
    const isMember = memberOf(roster, from) !== undefined
    if (isMember || !coordinates() || this.#asking.has(from)) return { result: 'wait' }
    const own = { peer: network.self, committed: roster.committed }
    if (stays(own, { peer: from, committed })) {
      return { result: 'join', committed: roster.committed, addresses: [...network.addresses] }
    }
    // The connection by which the question came leads back.
    void this.#ask(from)
    return { result: 'stay' }
  }

  /**
   * Looks for other foundings until the signal aborts, or this peer's own is not fresh any more. Ends at once if another
   * peer founded the run.
   * @param places addresses at which a peer of the run may be
   */
  async watch(places: () => readonly string[], signal: AbortSignal): Promise<void> {
    const { network, clock } = this.#options
    if (this.#foundedAt === null) return
    const until = this.#foundedAt + TIMEOUTS.freshMs
    const sightings = new Sightings(network, places)
    try {
      while (clock.now() < until) {
        await clock.sleep(TIMEOUTS.meetMs, signal)
        for (const peer of await sightings.look(signal)) {
          if (clock.now() >= this.#quietUntil) await this.#ask(peer)
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      sightings.end()
    }
  }

  /** Asks a peer, and the coordinator to which it refers. Gives this founding up if theirs stays. */
  async #ask(contact: PeerId): Promise<void> {
    const { network, clock } = this.#options
    let asked = contact
    for (let referrals = 0; referrals < 2; referrals++) {
      const answer = await this.#question(asked)
      if (answer?.result === 'join') return this.#giveUp(asked, answer)
      // Of two that ask each other, one lets the other go first.
      if (answer?.result === 'wait' && network.self < asked) {
        this.#quietUntil = clock.now() + 2 * TIMEOUTS.meetMs
      }
      if (answer?.result !== 'ask') return
      network.learn(answer.coordinator, answer.addresses)
      asked = answer.coordinator
    }
  }

  /** Null if there is nothing to ask, or no answer. */
  async #question(peer: PeerId): Promise<CompareAnswer | null> {
    const { network, runId, coordinates } = this.#options
    const roster = this.#options.roster()
    if (roster === null || !coordinates() || this.#asking.has(peer)) return null
    if (memberOf(roster, peer) !== undefined) return null
    this.#asking.add(peer)
    try {
      const { committed } = roster
      const question = { run: runId, committed }
      const options = { timeoutMs: TIMEOUTS.helloMs }
      return await askAfresh(network, peer, compareFoundings, question, options)
    } catch {
      return null
    } finally {
      this.#asking.delete(peer)
    }
  }

  async #giveUp(
    peer: PeerId,
    { committed, addresses }: Extract<CompareAnswer, { result: 'join' }>,
  ): Promise<void> {
    const { network, runId, journal, coordinates } = this.#options
    const roster = this.#options.roster()
    if (roster === null || !coordinates()) return
    this.#givenUp = roster
    const reason = `the run was founded twice: peer ${shortName(peer)} coordinates the one that stays with ${committed} steps, and ${roster.committed} steps of this one are given up`
    journal.write({ type: 'notice', message: reason })
    const question = { run: runId, peer, addresses, reason }
    const others = roster.members.filter((member) => member.peer !== network.self)
    const options = { timeoutMs: TIMEOUTS.rosterMs }
    await Promise.allSettled(
      others.map((member) => ask(network, member.peer, moveOver, question, options)),
    )
    await this.moveOver(reason, { peer, addresses })
  }
}

interface Founding {
  readonly peer: PeerId
  readonly committed: number
}

/** True if the first of two foundings stays. Both coordinators compute the same. */
function stays(one: Founding, other: Founding): boolean {
  if (one.committed !== other.committed) return one.committed > other.committed
  return one.peer < other.peer
}
