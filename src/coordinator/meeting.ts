/**
 * Makes one incarnation of two that meet. The coordinator asks the peers that its incarnation knows of its ancestors, and
 * that are not in its roster. It also asks the peers that it sees: those that it knew may have other addresses now. Of two
 * incarnations the one with more steps stays (`stays`). The coordinator of the other one asks whether its members may come
 * over, and then sends them.
 *
 * Anyone could name an incarnation with many steps. So the word of a peer counts only if that peer holds or held a stage
 * beside this one, is known from an ancestor, or is called the coordinator of its incarnation by such a peer. Before the
 * first step every word counts.
 */
import { askAfresh } from '../../protocols/ask-afresh.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import {
  ABSENT_MAX,
  type Contact,
  type MeetAnswer,
  type MeetQuestion,
  meet,
  supersede,
  superseded,
} from '../../protocols/incarnation.ts'
import type { PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { Founding } from '../holder/founding.ts'
import type { AgreementOptions } from '../membership/agreement.ts'
import { contactOf, type Incarnation, type Standing, stays } from '../membership/incarnation.ts'
import type { Parted } from '../membership/parted.ts'
import { coordinatorOf, holdersOf, isFresh, isHolder, memberOf } from '../membership/roster.ts'
import { Sightings } from '../membership/sightings.ts'
import type { Run } from '../run/run.ts'

export interface MeetingOptions extends AgreementOptions {
  readonly run: Pick<Run, 'stages'>
  readonly incarnation: Incarnation
  readonly founding: Pick<Founding, 'isWaiting'>
  /** The peers that held a stage beside this one. */
  readonly parted: Parted
  /** Addresses at which a peer of the run may be. */
  readonly places?: (() => readonly string[]) | undefined
  /** This incarnation is over, and this peer enters the one that stays. */
  superseded(lineage: Incarnation['lineage'], contact: Contact): void
}

export class Meeting {
  readonly #options: MeetingOptions
  /** Incarnations whose members were told that they may come over, and the last step that each has. */
  readonly #over = new Map<string, number>()
  /** Peers that coordinate another incarnation, by the word of a peer that is known here. The latest comes last. */
  readonly #vouchedFor = new Set<PeerId>()
  /** True if a peer whose word does not count told of another incarnation. Those whose word counts are asked then. */
  #hasHint = false
  /** True while this coordinator asks whether its members may go over. */
  #isYielding = false

  constructor(options: MeetingOptions) {
    this.#options = options
  }

  /** Looks for other incarnations until this peer does not coordinate any more. */
  async run(): Promise<void> {
    const { network, clock, signal, places = () => [] } = this.#options
    const sightings = new Sightings(network, places)
    try {
      for (;;) {
        await clock.sleep(TIMEOUTS.ancestorsMs, signal)
        const looks = this.#absent.map((contact) => this.#look(contact))
        this.#hasHint = false
        if (this.#maySee) looks.push(this.#lookAround(sightings))
        await Promise.all(looks)
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      sightings.end()
    }
  }

  /** Another incarnation tells of itself. */
  met(from: PeerId, { incarnation, committed, coordinator }: MeetQuestion): void {
    void this.#hear(from, { incarnation, committed, coordinator })
  }

  /**
   * The members of another incarnation may come over: it has fewer steps.
   * @throws ProtocolError REFUSED unless this incarnation stays and has a majority
   */
  supersede({ incarnation, committed }: Standing): void {
    const { founding } = this.#options
    const other = { incarnation, committed }
    const isOver = this.#isOver(other) || stays(this.#standing, other)
    if (!isOver || this.#isYielding || founding.isWaiting) {
      throw new ProtocolError('REFUSED', 'the other incarnation stays, or this one has no majority')
    }
    this.#over.delete(incarnation)
    this.#over.set(incarnation, committed)
    if (this.#over.size > ABSENT_MAX) this.#over.delete(this.#over.keys().next().value!)
  }

  get #standing(): Standing {
    const { acceptor, incarnation } = this.#options
    return { incarnation: incarnation.id, committed: acceptor.roster.committed }
  }

  get #isWhole(): boolean {
    const { run, acceptor } = this.#options
    const stages = Array.from({ length: run.stages + 1 }, (_, stage) => stage)
    return stages.every((stage) => holdersOf(acceptor.roster, stage).length > 0)
  }

  /** True while a part of the run may have gone on elsewhere: a stage has no holder, or this incarnation left others behind. */
  get #maySee(): boolean {
    return !this.#isWhole || this.#options.incarnation.lineage.record !== null
  }

  /**
   * Peers of the ancestors that are not in this incarnation. While a stage has no holder, or there is a hint, also the
   * members that were lost: they may have gone on by themselves, without knowing where this peer is now.
   */
  get #absent(): readonly Contact[] {
    const { acceptor, incarnation } = this.#options
    const parted = this.#isWhole && !this.#hasHint ? [] : this.#options.parted.contacts
    return [...incarnation.lineage.absent, ...parted].filter(
      ({ peer }) => memberOf(acceptor.roster, peer) === undefined,
    )
  }

  /** Asks the peers that this peer sees and its roster does not name. */
  async #lookAround(sightings: Sightings): Promise<void> {
    const { acceptor, signal } = this.#options
    const absent = new Set(this.#absent.map(({ peer }) => peer))
    const seen = await sightings.look(signal)
    const others = seen.filter(
      (peer) => !absent.has(peer) && memberOf(acceptor.roster, peer) === undefined,
    )
    await Promise.all(
      others.map(async (peer) => {
        // What showed the peer leads to it: no address of it is learnt or forgotten.
        const answer = await this.#ask(peer)
        if (answer === null) sightings.silent(peer)
        else await this.#answered(peer, answer)
      }),
    )
  }

  async #look(contact: Contact): Promise<void> {
    const answer = await this.#meet(contact)
    if (answer !== null) await this.#answered(contact.peer, answer)
  }

  async #answered(peer: PeerId, answer: MeetAnswer): Promise<void> {
    if (answer.coordinator === null || answer.incarnation === this.#standing.incarnation) return
    await this.#hear(peer, answer)
    // The other coordinator may not know of this incarnation, and compares as well.
    const isOther = answer.coordinator.peer !== peer
    if (isOther && !this.#isBehind(answer)) await this.#meet(answer.coordinator)
  }

  async #meet({ peer, addresses }: Contact): Promise<MeetAnswer | null> {
    this.#options.network.learn(peer, addresses)
    try {
      return await this.#ask(peer)
    } finally {
      this.#forget(peer)
    }
  }

  /** Tells a peer of this incarnation, and asks for its own. Null if the peer does not answer. */
  async #ask(peer: PeerId): Promise<MeetAnswer | null> {
    const { network, runId: run, acceptor, signal } = this.#options
    const coordinator = contactOf(coordinatorOf(acceptor.roster))
    const question = { run, ...this.#standing, coordinator }
    try {
      return await askAfresh(network, peer, meet, question, {
        timeoutMs: TIMEOUTS.reconnectMs,
        signal,
      })
    } catch {
      signal.throwIfAborted()
      return null
    }
  }

  #forget(peer: PeerId): void {
    const { network, acceptor } = this.#options
    if (memberOf(acceptor.roster, peer) === undefined) network.forget(peer)
  }

  #isBehind(other: Standing): boolean {
    return !this.#isOver(other) && stays(other, this.#standing)
  }

  /** True if the members of the other incarnation may come over. One that makes steps is not over. */
  #isOver({ incarnation, committed }: Standing): boolean {
    const last = this.#over.get(incarnation)
    return last !== undefined && committed <= last
  }

  /** True if the word of the peer counts by itself. */
  #knows(peer: PeerId): boolean {
    const { incarnation, parted, acceptor } = this.#options
    // Before its first step an incarnation has nothing to lose. A peer that founded a run anew knows nobody of the old one.
    if (isFresh(acceptor.roster)) return true
    const isAbsent = incarnation.lineage.absent.some((contact) => contact.peer === peer)
    const member = memberOf(acceptor.roster, peer)
    return isAbsent || parted.has(peer) || (member !== undefined && isHolder(member))
  }

  /** Takes in what a peer says of another incarnation, if its word counts. */
  async #hear(from: PeerId, said: MeetAnswer): Promise<void> {
    if (said.coordinator === null) return
    const { peer } = said.coordinator
    if (!this.#knows(from) && !this.#vouchedFor.has(from)) {
      this.#hasHint = true
      return
    }
    if (!this.#knows(peer)) {
      this.#vouchedFor.delete(peer)
      this.#vouchedFor.add(peer)
      if (this.#vouchedFor.size > ABSENT_MAX) {
        this.#vouchedFor.delete(this.#vouchedFor.keys().next().value!)
      }
    }
    await this.#compare(said)
  }

  async #compare(other: MeetAnswer): Promise<void> {
    const { coordinator } = other
    const isOwn = other.incarnation === this.#standing.incarnation
    if (coordinator === null || isOwn || this.#isYielding || !this.#isBehind(other)) return
    this.#isYielding = true
    try {
      await this.#yieldTo(coordinator)
    } finally {
      this.#isYielding = false
    }
  }

  /** Asks whether the members may go over, and sends them. If not, the next look asks again. */
  async #yieldTo(contact: Contact): Promise<void> {
    const { network, runId: run, acceptor, signal } = this.#options
    const { peer, addresses } = contact
    network.learn(peer, addresses)
    const options = { timeoutMs: TIMEOUTS.rosterMs, signal }
    try {
      const { lineage } = await askAfresh(
        network,
        peer,
        supersede,
        { run, ...this.#standing },
        options,
      )
      const others = acceptor.roster.members.filter((member) => member.peer !== network.self)
      await Promise.all(
        others.map((member) =>
          ask(network, member.peer, superseded, { run, lineage, contact }, options).catch(() => {}),
        ),
      )
      signal.throwIfAborted()
      this.#options.superseded(lineage, contact)
    } catch (error) {
      // This peer does not coordinate any more, so that it yields nothing.
      if (signal.aborted) return
      if (!(error instanceof ProtocolError)) throw error
      this.#forget(peer)
    }
  }
}
