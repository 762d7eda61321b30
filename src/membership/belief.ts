/**
 * Whom a peer believes about the roster. A member believes the coordinator that its roster names, a member to which it
 * gave a promise in this epoch, and a peer that a quorum of its roster calls the coordinator. A member that hears no
 * coordinator also believes the members of its roster: the majority may be gone, and one of them may know a later epoch.
 * A peer in no roster believes the peers that it asked to be let in, and those that they call the coordinator. So one member
 * that lies, or a peer that is no member, changes no roster while the coordinator is there.
 */
import type { Clock } from '../../protocols/clock.ts'
import { vouch } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { SPONSORS_MAX, TIMEOUTS, VOUCH_TRIES } from '../base/limits.ts'
import type { Acceptor } from './acceptor.ts'
import { coordinatorOf, isQuorum, memberById, memberOf, votersOf } from './roster.ts'

/** What a peer is to this one. */
export type Role = 'coordinator' | 'member' | 'none'

export interface BeliefOptions {
  readonly network: Network
  readonly clock: Clock
  readonly runId: string
  readonly signal: AbortSignal
  /** Null while this peer is in no roster. */
  acceptor(): Acceptor | null
  /** True while this peer coordinates the run, or hears the one that does. */
  hearsCoordinator(): boolean
}

/** What the voters answer about one peer. */
type Verdict = 'confirmed' | 'refuted' | 'unknown'

export class Belief {
  readonly #options: BeliefOptions
  /** Peers that this peer asked to be let in. */
  readonly #sponsors = new Set<PeerId>()
  /** Polls about a peer that are under way, or were without success lately. */
  readonly #polls = new Map<PeerId, Promise<Verdict>>()

  constructor(options: BeliefOptions) {
    this.#options = options
  }

  /** This peer asks another one to be let in, and believes its answer. */
  asksToEnter(peer: PeerId): void {
    this.#sponsors.delete(peer)
    this.#sponsors.add(peer)
    if (this.#sponsors.size > SPONSORS_MAX) {
      this.#sponsors.delete(this.#sponsors.keys().next().value!)
    }
  }

  /** What a peer is in the roster known here. `coordinator` also for a member that got a promise in this epoch. */
  roleOf(peer: PeerId): Role {
    const acceptor = this.#options.acceptor()
    if (acceptor === null) return 'none'
    const { roster } = acceptor
    const member = memberOf(roster, peer)
    const isCandidate = member !== undefined && acceptor.hasPromised(member.id)
    if (isCandidate || coordinatorOf(roster).peer === peer) return 'coordinator'
    return member === undefined ? 'none' : 'member'
  }

  /**
   * True if this peer takes a roster from `claimant`, or one that names it as coordinator.
   * @param informer the peer that gives the roster, if it is another one
   */
  async believes(claimant: PeerId, informer = claimant): Promise<boolean> {
    const { acceptor, hearsCoordinator } = this.#options
    const known = acceptor()
    if (known === null) return this.#isNamedBySponsor(claimant)
    if (informer === claimant && this.roleOf(claimant) === 'coordinator') return true
    const mayBeAnother = coordinatorOf(known.roster).peer !== claimant
    const verdict = mayBeAnother ? await this.#poll(claimant) : 'unknown'
    if (verdict !== 'unknown') return verdict === 'confirmed'
    return !hearsCoordinator() && this.roleOf(informer) !== 'none'
  }

  async #isNamedBySponsor(peer: PeerId): Promise<boolean> {
    if (this.#sponsors.has(peer)) return true
    const roles = await Promise.all([...this.#sponsors].map((sponsor) => this.#ask(sponsor, peer)))
    return roles.includes('coordinator')
  }

  /** Asks the voters who the peer is. A peer that insists is polled for once in `rosterMs`. */
  #poll(peer: PeerId): Promise<Verdict> {
    const known = this.#polls.get(peer)
    if (known !== undefined) return known
    const { clock, signal } = this.#options
    const poll = this.#pollAgain(peer)
    this.#polls.set(peer, poll)
    const forget = () => this.#polls.delete(peer)
    poll
      .then(async (verdict) => {
        if (verdict !== 'confirmed') await clock.sleep(TIMEOUTS.rosterMs, signal)
      })
      .then(forget, forget)
    return poll
  }

  /** The voters learn of a new coordinator at about the same time, some a little later than this peer. */
  async #pollAgain(peer: PeerId): Promise<Verdict> {
    const { clock, signal } = this.#options
    let verdict: Verdict = 'unknown'
    for (let tries = 0; tries < VOUCH_TRIES; tries++) {
      if (tries > 0) await clock.sleep(TIMEOUTS.retryMs, signal)
      verdict = await this.#pollOnce(peer)
      if (verdict === 'confirmed') break
    }
    return verdict
  }

  async #pollOnce(peer: PeerId): Promise<Verdict> {
    const { acceptor, network } = this.#options
    const roster = acceptor()?.roster
    if (roster === undefined) return 'unknown'
    const { promise, resolve } = Promise.withResolvers<Verdict>()
    const agreeing = new Set<number>()
    const possible = new Set(votersOf(roster))
    const count = (id: number, role: Role | null) => {
      if (role === 'coordinator') agreeing.add(id)
      else if (role !== null) possible.delete(id)
      if (isQuorum(roster, agreeing)) resolve('confirmed')
      else if (!isQuorum(roster, possible)) resolve('refuted')
    }
    const asked = [...votersOf(roster)].map(async (id) => {
      const voter = memberById(roster, id)!.peer
      if (voter === peer) return count(id, 'coordinator')
      if (voter === network.self) return count(id, null)
      count(id, await this.#ask(voter, peer))
    })
    void Promise.all(asked).then(() => resolve('unknown'))
    return promise
  }

  /** What a peer is to another one; null without an answer. */
  async #ask(asked: PeerId, peer: PeerId): Promise<Role | null> {
    const { network, runId: run, signal } = this.#options
    try {
      const options = { timeoutMs: TIMEOUTS.vouchMs, signal }
      return (await ask(network, asked, vouch, { run, peer }, options)).role
    } catch {
      return null
    }
  }
}
