/**
 * Founds a new incarnation of the run when a majority stays away. The members that are left ask each other what they have.
 * All of them can compute who founds: the coordinator if it is among them, else the smallest peer id. The founder names the
 * holders whose stages are as after the last step, and the run's policy brings the other stages back.
 */

import { askAfresh } from '../../protocols/ask-afresh.ts'
import type { Clock } from '../../protocols/clock.ts'
import type { CopyName } from '../../protocols/copies.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import {
  type Contact,
  GATHERED_COPIES_MAX,
  GATHERED_NEWCOMERS_MAX,
  type GatherAnswer,
  gather,
  type HeldState,
  incarnate,
  type Lineage,
  minority,
} from '../../protocols/incarnation.ts'
import { encodeRoster, type Member, type Roster } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { sha256 } from '../../protocols/weights.ts'
import type { Journal } from '../base/journal.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { Store } from '../checkpoint/store.ts'
import { sendRoster } from '../membership/agreement.ts'
import type { CoordinatorMonitor } from '../membership/coordinator-monitor.ts'
import {
  absentFrom,
  branchesBefore,
  contactOf,
  type Incarnation,
  incarnationId,
  stays,
} from '../membership/incarnation.ts'
import { minorityReason } from '../membership/minority.ts'
import { Newcomers } from '../membership/newcomers.ts'
import { coordinatorOf, memberById, memberOf } from '../membership/roster.ts'
import type { Run } from '../run/run.ts'
import type { Coordination } from './coordination.ts'
import { foundingRoster, lackingStages } from './founding-roster.ts'
import type { RosterFollower } from './roster-follower.ts'

export interface FoundingOptions {
  readonly run: Run
  readonly runId: string
  readonly network: Network
  readonly clock: Clock
  readonly journal: Journal
  readonly signal: AbortSignal
  readonly domain?: string
  readonly checkpoints?: Store | null
  readonly incarnation: Incarnation
  readonly follower: RosterFollower
  readonly monitor: CoordinatorMonitor
  /** The stage that this peer holds, as after the last step; null if it holds none. */
  held(): HeldState | null
  /** Complete copies of stages that this peer keeps. */
  copies(): readonly CopyName[]
  /** Null unless this peer coordinates the run. */
  coordination(): Coordination | null
  /** This peer enters another incarnation, whose coordinator is given. */
  enter(lineage: Lineage, contact: Contact, reason: string): Promise<void>
}

/** A member, and its answer. */
interface Gathered {
  readonly member: Member
  readonly answer: GatherAnswer
}

export class Founding {
  readonly #options: FoundingOptions
  /** Since when this peer has waited for a majority, when it last said so, in milliseconds of the clock, and where. */
  #waiting: { since: number; saidAt: number; incarnation: string }
  /** True while this peer gathers or founds. */
  #isBusy = false
  /** True from the first question that founds an incarnation until this peer is in it. */
  #isFounding = false
  /** Peers that wait to be let in. */
  readonly newcomers: Newcomers
  /** What this peer entered its incarnation with; null in the one in which the run was founded. */
  #founded: {
    readonly lineage: Lineage
    readonly body: Uint8Array
    readonly epoch: number
  } | null = null
  /** The last reason in the journal. The same reason is not journaled again. */
  #journaled = ''

  constructor(options: FoundingOptions) {
    this.#options = options
    const { incarnation, network, signal } = options
    this.newcomers = new Newcomers(options.clock)
    const removeLost = network.onLost((peer) => this.newcomers.leaves(peer))
    signal.addEventListener('abort', removeLost, { once: true })
    const { id } = incarnation
    this.#waiting = { since: 0, saidAt: Number.NEGATIVE_INFINITY, incarnation: id }
  }

  /** True while this peer has had no coordinator or no majority, for however short a time. */
  get isWaiting(): boolean {
    return this.#stateFor(false) !== 'member'
  }

  /** True if this peer has had neither for so long that it would go on in another incarnation. */
  get isUndecided(): boolean {
    return this.#stateFor(false) === 'undecided'
  }

  /**
   * A coordinator has no majority. Tells people and members, and founds an incarnation if it is time for that.
   * @param ms for how long there has been no majority
   * @param answering ids of the members that answer
   */
  async coordinatorWaits(
    ms: number,
    roster: Roster,
    answering: ReadonlySet<number>,
  ): Promise<void> {
    const { run, network, runId } = this.#options
    const reason = minorityReason(roster, answering, run).slice(0, 2000)
    if (this.#write(reason)) {
      const options = { timeoutMs: TIMEOUTS.rosterMs }
      for (const { peer } of roster.members) {
        if (peer === network.self) continue
        void ask(network, peer, minority, { run: runId, reason }, options).catch(() => {})
      }
    }
    await this.consider(ms)
  }

  /** Founds an incarnation if it is time for that. @param ms for how long there has been no majority */
  async consider(ms: number): Promise<void> {
    const { clock, run, incarnation } = this.#options
    const now = clock.now()
    // A campaign that began in the incarnation before says for how long that one had no majority.
    if (incarnation.id !== this.#waiting.incarnation) ms = 0
    this.#waiting = { since: now - ms, saidAt: now, incarnation: incarnation.id }
    if (this.#isBusy) return
    this.#isBusy = true
    try {
      await this.#passOn()
      if (run.majority === 'goOn' && ms >= this.#patienceMs) await this.#attempt()
    } finally {
      this.#isBusy = false
    }
  }

  /** What this peer has. @param coordinates true if the asker coordinates without a majority */
  async answer(from: PeerId, coordinates: boolean): Promise<GatherAnswer> {
    const { follower, incarnation, network, domain = '' } = this.#options
    // The answer is about a settled state: a change that is being carried out may change the stage.
    await follower.settled()
    const { roster, own, session } = follower
    const coordinator = roster === null ? null : coordinatorOf(roster)
    const state = this.#stateFor(coordinates && coordinator?.peer === from)
    if (state === 'undecided' && network.self < from) this.#takeTurn()
    return {
      incarnation: incarnation.id,
      lineage: incarnation.lineage,
      state,
      coordinates: own !== undefined && own.id === roster?.coordinator,
      coordinator: state === 'member' && coordinator !== null ? contactOf(coordinator) : null,
      epoch: roster?.epoch ?? 0,
      committed: roster?.committed ?? 0,
      session,
      addresses: [...network.addresses],
      domain,
      held: this.#options.held(),
      copies: this.#options.copies().slice(0, GATHERED_COPIES_MAX),
      newcomers: this.newcomers.present.slice(0, GATHERED_NEWCOMERS_MAX),
    }
  }

  /**
   * A member asks that waits for this one to found. A member that promises to others campaigns little itself, so that it
   * would not look again for long.
   */
  #takeTurn(): void {
    const { monitor, coordination, signal } = this.#options
    const ms = monitor.lostMs
    if (ms === null || coordination() !== null) return
    this.consider(ms).catch((error: unknown) => {
      if (!signal.aborted) throw error
    })
  }

  /**
   * Another member founds an incarnation with this one. From then on this peer takes part in nothing of the earlier one.
   * @throws ProtocolError REFUSED if this peer has a coordinator, or founds an incarnation itself
   */
  accept(from: PeerId, lineage: Lineage, body: Uint8Array | undefined): void {
    const { follower, incarnation, network, runId } = this.#options
    const known = follower.expectAcceptor().roster
    const { record } = lineage
    const roster = follower.rosters.decode(from, body)
    const refuse = (reason: string): never => {
      throw new ProtocolError('REFUSED', reason)
    }
    // The founder, or a member that accepted before, asks again.
    if (record !== null && incarnationId(runId, record) === incarnation.id) return
    if (record === null || record.ancestor !== incarnation.id) {
      refuse(`it does not follow incarnation ${incarnation.number}`)
    }
    if (record!.roster !== sha256(body!)) refuse('its record is of another roster')
    if (
      memberOf(roster, network.self)?.session !== follower.session ||
      roster.epoch <= known.epoch
    ) {
      refuse('its roster does not name this process, or is not later than the one here')
    }
    const isKnown = ({ id, peer }: Member) => memberById(known, id)?.peer === peer
    if (memberOf(roster, from) === undefined || !roster.members.every(isKnown)) {
      refuse(`${from} is not in it, or a member of it is not in the roster here`)
    }
    const isCoordinator = coordinatorOf(known).peer === from
    if (this.#isFounding || this.#stateFor(isCoordinator) !== 'undecided') {
      refuse('this peer has a coordinator, or founds an incarnation itself')
    }
    this.#enter(lineage, known, roster, body!)
  }

  get #patienceMs(): number {
    return this.#options.run.majoritySeconds * 1000
  }

  /** @param isAskedByMinority the coordinator itself asks, and says that it has no majority */
  #stateFor(isAskedByMinority: boolean): GatherAnswer['state'] {
    const { follower, monitor, coordination, clock, run } = this.#options
    if (follower.roster === null) return 'outside'
    const now = clock.now()
    const isSaid = now - this.#waiting.saidAt < 2 * TIMEOUTS.rosterMs
    const ownWait = coordination() !== null && isSaid ? now - this.#waiting.since : null
    const waitedMs = coordination() === null ? monitor.lostMs : ownWait
    if (waitedMs === null && !isAskedByMinority) return 'member'
    const isEnough = isAskedByMinority || waitedMs! >= this.#patienceMs
    return isEnough && run.majority === 'goOn' ? 'undecided' : 'waiting'
  }

  /**
   * Asks the members of a founding roster again that may not have been asked before the founder was lost. Without them this
   * peer may have no majority in the new incarnation, nor they in the earlier one.
   */
  async #passOn(): Promise<void> {
    const { follower, network, runId: run, signal } = this.#options
    const { roster } = follower
    const founded = this.#founded
    if (founded === null || roster === null || roster.epoch !== founded.epoch) return
    const { lineage, body } = founded
    const options = { timeoutMs: TIMEOUTS.rosterMs, signal, body }
    const others = roster.members.filter(({ peer }) => peer !== network.self)
    await Promise.all(
      others.map(({ peer }) =>
        ask(network, peer, incarnate, { run, lineage }, options).catch(() => {}),
      ),
    )
  }

  async #attempt(): Promise<void> {
    const { follower, incarnation, network, signal } = this.#options
    const { own } = follower
    const roster = follower.roster!
    const { id } = incarnation
    if (own === undefined) return
    const gathered = await this.#gather(roster, own.id === roster.coordinator)
    if (signal.aborted || incarnation.id !== id || follower.roster !== roster) return
    if (await this.#joinOther(gathered, roster.committed)) return
    const same = gathered.filter(({ answer }) => answer.incarnation === id)
    // Somebody still has a coordinator, or has not waited for long enough.
    const isUndecided = ({ member, answer }: Gathered) =>
      answer.state === 'undecided' && answer.session === member.session
    if (!same.every((each) => isUndecided(each) || each.answer.state === 'outside')) return
    const left = same.filter(isUndecided)
    const mine = { peer: network.self, coordinates: own.id === roster.coordinator }
    const others = left.map(({ member, answer }) => ({ ...answer, peer: member.peer }))
    if ([mine, ...others].sort(byRank)[0] !== mine) return
    if (!(await this.#isLevel(left, roster))) return
    // A newcomer asks one member, which may be another one than the founder.
    const known = same.flatMap(({ answer }) => answer.newcomers)
    const newcomers = new Set([...this.newcomers.present, ...known])
    const lacking =
      this.#tooFew(left.length + 1, newcomers.size) ??
      lackingStages(this.#options, roster, own, left)
    if (lacking !== null) {
      this.#write(`the peers that are left cannot go on by themselves: ${lacking}`)
      return
    }
    await this.#found(left, roster, own)
  }

  /**
   * Why the members cannot have every stage, even with the peers that ask to be let in; null if they are enough. A peer
   * that is left over when all others have ended must not go on for ever.
   */
  #tooFew(left: number, newcomers: number): string | null {
    const stages = this.#options.run.stages + 1
    if (left + newcomers >= stages) return null
    return `${left} of them are left for ${stages} stages. Start more peers`
  }

  /** Asks all other members what they have. Leaves out those that do not answer. */
  async #gather(roster: Roster, coordinates: boolean): Promise<Gathered[]> {
    const { network, runId: run, incarnation, signal } = this.#options
    const question = { run, incarnation: incarnation.id, coordinates }
    const options = { timeoutMs: TIMEOUTS.rosterMs, signal }
    const others = roster.members.filter(({ peer }) => peer !== network.self)
    const answers = await Promise.all(
      others.map((member) =>
        askAfresh(network, member.peer, gather, question, options).then(
          (answer) => [{ member, answer }],
          () => [],
        ),
      ),
    )
    return answers.flat()
  }

  /** Enters an incarnation that others have founded meanwhile, or that has gone on. True if there is one. */
  async #joinOther(gathered: readonly Gathered[], committed: number): Promise<boolean> {
    const { incarnation, runId } = this.#options
    const own = { incarnation: incarnation.id, committed }
    const found = gathered.find(({ answer }) => {
      if (answer.incarnation === own.incarnation || answer.coordinator === null) return false
      if (incarnationId(runId, answer.lineage.record) !== answer.incarnation) return false
      return answer.lineage.record?.ancestor === own.incarnation || stays(answer, own)
    })
    if (found === undefined) return false
    const { lineage, coordinator } = found.answer
    const number = lineage.record?.number ?? 0
    await this.#options.enter(lineage, coordinator!, `the run goes on in incarnation ${number}`)
    return true
  }

  /** Brings all to the latest epoch that one of them knows. True if they all know it already. */
  async #isLevel(left: readonly Gathered[], roster: Roster): Promise<boolean> {
    const { follower, signal } = this.#options
    const ahead = left.find(({ answer }) => answer.epoch > roster.epoch)
    if (ahead !== undefined) {
      await follower.catchUp(ahead.member.peer)
      return false
    }
    const behind = left.filter(({ answer }) => answer.epoch < roster.epoch)
    const agreement = follower.agreement(signal)
    await Promise.all(behind.map(({ member }) => sendRoster(agreement, member, roster)))
    return behind.length === 0
  }

  async #found(left: readonly Gathered[], before: Roster, own: Member): Promise<void> {
    const { network, runId: run, incarnation, follower, signal } = this.#options
    const held = new Map(left.map(({ member, answer }) => [member.id, answer.held]))
    held.set(own.id, this.#options.held())
    const roster = foundingRoster(before, held, own.id)
    const body = encodeRoster(roster)
    const record = {
      number: incarnation.number + 1,
      ancestor: incarnation.id,
      step: roster.committed,
      roster: sha256(body),
    }
    const lineage = {
      record,
      absent: absentFrom(roster, before, incarnation.lineage.absent),
      branches: branchesBefore(incarnation.id, incarnation.lineage, roster.committed),
    }
    const options = { timeoutMs: TIMEOUTS.rosterMs, signal, body }
    this.#isFounding = true
    try {
      // A member that cannot be told is lost to the new incarnation, and learns of it when it gathers itself.
      await Promise.all(
        left.map(({ member }) =>
          ask(network, member.peer, incarnate, { run, lineage }, options).catch(() => {}),
        ),
      )
      signal.throwIfAborted()
      // This peer may have been dropped meanwhile, or may have entered another incarnation: the roster is of another process.
      if (incarnation.id !== record.ancestor || follower.session !== own.session) return
      this.#enter(lineage, before, roster, body)
    } finally {
      this.#isFounding = false
    }
  }

  #enter(lineage: Lineage, before: Roster, roster: Roster, body: Uint8Array): void {
    const { journal, follower, runId } = this.#options
    const { number, step, ancestor } = lineage.record!
    const missing = before.members.filter(({ peer }) => memberOf(roster, peer) === undefined)
    journal.write({
      type: 'incarnated',
      id: incarnationId(runId, lineage.record),
      number,
      ancestor,
      step,
      founder: coordinatorOf(roster).peer,
      members: roster.members.map(({ peer }) => peer),
      absent: missing.map(({ peer }) => peer),
    })
    this.#journaled = ''
    this.#founded = { lineage, body, epoch: roster.epoch }
    follower.incarnate(lineage, roster)
  }

  /** Journals a reason to wait. False if it was journaled last. */
  #write(reason: string): boolean {
    if (reason === this.#journaled) return false
    this.#journaled = reason
    this.#options.journal.write({ type: 'waiting', stages: [], reason })
    return true
  }
}

/** Orders members by the right to found an incarnation. */
function byRank(
  a: { readonly peer: PeerId; readonly coordinates: boolean },
  b: { readonly peer: PeerId; readonly coordinates: boolean },
): number {
  if (a.coordinates !== b.coordinates) return a.coordinates ? -1 : 1
  return a.peer < b.peer ? -1 : 1
}
