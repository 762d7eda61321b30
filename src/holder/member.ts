/** A peer's side of the run: follows the roster, holds at most one stage, and does what the coordinator asks. */

import type { Change } from '../../protocols/agreement.ts'
import * as agreement from '../../protocols/agreement.ts'
import { type Announcement, announce, listen } from '../../protocols/announcement.ts'
import { type SavedQuestion, saved } from '../../protocols/checkpoint.ts'
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Ballot, Member as Entry, Roster, Successor } from '../../protocols/membership.ts'
import * as membership from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import type { Procedure, Service } from '../../protocols/procedure.ts'
import * as steps from '../../protocols/step.ts'
import type { AnyStage } from '../../stages/stage.ts'
import type { Journal } from '../base/journal.ts'
import { ANNOUNCEMENT_INTERVAL_MS, TIMEOUTS } from '../base/limits.ts'
import type { Store } from '../checkpoint/store.ts'
import { Keeper, serveCopies } from '../copies/keeper.ts'
import { Acceptor } from '../membership/acceptor.ts'
import { type AgreementOptions, fetchRoster } from '../membership/agreement.ts'
import { CoordinatorMonitor } from '../membership/coordinator-monitor.ts'
import {
  type Finished,
  type MemberEvent,
  MemberEvents,
  type Start,
} from '../membership/member-events.ts'
import {
  compareBallots,
  coordinatorOf,
  foundingRoster,
  memberOf,
  newcomersOf,
  ROSTERS,
  type RosterSource,
} from '../membership/roster.ts'
import { type Ancestor, serveRun } from '../membership/serve-run.ts'
import { takeOver } from '../membership/succession.ts'
import type { BatchSource } from '../run/batch-source.ts'
import type { Run } from '../run/run.ts'
import type { Resume } from './resume.ts'
import { serveWork } from './serve-work.ts'
import { StageSlot } from './stage-slot.ts'

export interface MemberOptions {
  readonly run: Run
  readonly runId: string
  readonly network: Network
  readonly clock: Clock
  readonly journal: Journal
  /** What this peer is likely to be lost together with. */
  readonly domain?: string
  /** Where checkpoints lie, the same place for all; null if this peer was told of none. */
  readonly checkpoints?: Store | null
  /** Builds a stage with the run's initial weights; a second one is kept up to date beside the one that is held. */
  createStage(stage: number, isSecond?: boolean): Promise<AnyStage>
  /** Members of one process may share the rosters that they make; left out: each makes its own. */
  readonly rosters?: RosterSource
  /** Reads the corpus; only the driver does. @throws InputError if it is missing or another one */
  loadData(donors: () => readonly PeerId[]): Promise<BatchSource>
  /** What the swarm is started from, if this peer founds it; and where this peer reads its stage, if another has. */
  readonly resume?: Resume | undefined
  /** The runs that became this one: whoever asks for one of them is told. */
  readonly ancestors?: readonly Ancestor[]
  /** What this process goes on as that was in the run which became this one; null for one that begins. */
  readonly start?: Start | null
  /** Keeps the final weights of the held stage, as they are after `step`; gives the path. */
  save?(stage: AnyStage, index: number, step: number): Promise<string>
}

/** What a coordinator does for others, beside being a member. */
export interface Coordination {
  admit(from: PeerId, question: typeof membership.hello.question._output): Promise<void> | void
  leave(from: PeerId, reason: string, patient: boolean): Promise<void>
  report(from: PeerId, question: steps.ReportQuestion): void
  learnt(from: PeerId, question: steps.LearntQuestion): void
  saved(from: PeerId, question: SavedQuestion): void
  /** This peer knows of a roster under another ballot, or is in none any more. */
  depose(reason: string): void
}

export class Member {
  readonly #options: MemberOptions
  readonly #stopping = new AbortController()
  readonly #handlers: readonly (() => void)[]
  readonly #watch: CoordinatorMonitor
  readonly #custody: StageSlot
  readonly #keeper = new Keeper()
  readonly #rosters: RosterSource
  #session: number
  #acceptor: Acceptor | null = null
  #coordination: Coordination | null = null
  /** The roster names this peer, but it has stepped down. */
  #deposed = false
  /** Changes are carried out one after another. */
  #carrying: Promise<unknown> = Promise.resolve()
  readonly #turns = new MemberEvents()
  /** The last that was journaled of a coordinator that nobody can replace: said once, not every time it is tried. */
  #complaint = ''
  #announcedAt = Number.NEGATIVE_INFINITY

  constructor(options: MemberOptions) {
    this.#options = options
    const { network, start = null, rosters = ROSTERS } = options
    this.#rosters = rosters
    this.#session = start?.session ?? Math.floor(options.clock.now())
    if (start !== null && start.roster !== null) this.#goOn(start.roster)
    this.#watch = new CoordinatorMonitor({
      ...options,
      signal: this.#stopping.signal,
      roster: () => this.roster,
      own: () => this.own,
      deposed: () => this.#deposed,
      dropped: (reason) => void this.#drop(reason),
      standIn: (...how) => this.#standIn(...how),
    })
    void this.#watch.run()
    this.#custody = new StageSlot({
      ...options,
      signal: this.#stopping.signal,
      roster: () => this.roster,
      own: () => this.own,
      committed: (step) => this.#announce(step),
    })
    this.#handlers = [
      // Members need no announcements themselves, but pass on only what they listen to.
      listen(network, options.runId, () => {}),
      serveRun(
        options,
        membership.hello,
        { serve: async (from, it) => this.#hello(from, it) },
        (successors) => ({ result: 'resharded' as const, successors: [...successors] }),
      ),
      this.#serve(membership.roster, {
        serve: async () => {
          const { roster } = this.#member()
          return { answer: { epoch: roster.epoch }, body: membership.encodeRoster(roster) }
        },
      }),
      this.#serve(membership.heartbeat, {
        serve: async (from, { epoch }) => ({ answer: this.#heartbeat(from, epoch) }),
      }),
      this.#serve(membership.leave, {
        serve: async (from, { reason, patient }) => {
          await this.#coordinates().leave(from, reason, patient)
          return { answer: {} }
        },
      }),
      this.#serve(membership.finish, {
        serve: async (from, { committed, failure }) => {
          this.#fromCoordinator(from)
          this.#turns.add({ type: 'finished', committed, failure })
          return { answer: {} }
        },
      }),
      this.#serve(agreement.propose, {
        serve: async (from, question) => {
          const acceptor = this.#member()
          this.#fromMember(from, question.epoch - 1)
          const answer = acceptor.propose(question)
          // One who has yet to be chosen is not heard as the coordinator: it may fail, and then another is needed.
          if (answer.accepted) this.#heardProposal(from, acceptor.roster)
          return { answer }
        },
      }),
      this.#serve(agreement.promise, {
        serve: async (from, question) => {
          const acceptor = this.#member()
          this.#fromMember(from, question.epoch)
          const answer = acceptor.promise(question, this.#objection(from))
          if (answer.promised) this.#heardProposal(from, acceptor.roster)
          return { answer }
        },
      }),
      this.#serve(agreement.install, {
        accept: (_, __, length) => {
          if (length <= membership.ROSTER_BYTES) return new Uint8Array(length)
          throw new ProtocolError('TOO_LARGE', `a roster of ${length} bytes`)
        },
        serve: async (from, { epoch, change }, body) => {
          const whole = body && this.#rosters.decode(from, body)
          return { answer: await this.#install(epoch, change, whole) }
        },
      }),
      this.#serve(steps.learnt, {
        serve: async (from, question) => {
          this.#coordinates().learnt(from, question)
          return { answer: {} }
        },
      }),
      this.#serve(saved, {
        serve: async (from, question) => {
          this.#coordinates().saved(from, question)
          return { answer: {} }
        },
      }),
      this.#serve(steps.report, {
        serve: async (from, question) => {
          this.#coordinates().report(from, question)
          return { answer: {} }
        },
      }),
      ...serveWork({
        ...options,
        custody: this.#custody,
        roster: () => this.#member().roster,
        fromCoordinator: (from) => this.#fromCoordinator(from),
        inTurn: (work) => this.#inTurn(work),
      }),
      ...serveCopies(
        options,
        this.#keeper,
        () => this.roster,
        () => this.#custody.understudied,
      ),
    ]
  }

  /** Tells this process, and what it remembers of the agreement, from others that bear its name. */
  get session(): number {
    return this.#session
  }

  /** What the swarm has agreed on, as far as this peer knows; null while it is in no roster. */
  get roster(): Roster | null {
    return this.#acceptor?.roster ?? null
  }

  /** This process in the roster. */
  get own(): Entry | undefined {
    const { network } = this.#options
    const member = this.roster === null ? undefined : memberOf(this.roster, network.self)
    return member?.session === this.session ? member : undefined
  }

  get committed(): number {
    return this.roster?.committed ?? 0
  }

  /** What happened that changes what this peer does, in order. */
  next(): Promise<MemberEvent> {
    return this.#turns.next()
  }

  /** Begins the run: a roster of this peer alone, which coordinates it. */
  found(): void {
    const { network, domain = '', resume } = this.#options
    const addresses = [...network.addresses]
    const founder = { peer: network.self, session: this.session, addresses, domain }
    this.#acceptor = new Acceptor(foundingRoster(founder, resume?.origin), this.#rosters)
    this.#turns.add({ type: 'elected', ballot: this.#acceptor.roster.ballot })
  }

  /** Goes on from what was agreed on in the run that became this one. */
  #goOn(roster: Roster): void {
    this.#acceptor = new Acceptor(roster, this.#rosters)
    const coordinator = coordinatorOf(roster).peer
    this.#turns.add(
      roster.coordinator === this.own?.id
        ? { type: 'elected', ballot: roster.ballot }
        : { type: 'admitted', coordinator },
    )
  }

  /** Whom this peer asked to be let in says that the run goes on as another. */
  resharded(from: PeerId, successors: readonly Successor[]): void {
    const start = { roster: null, session: this.session }
    const reason = `${from} says so`
    this.#turns.add({ type: 'resharded', successors, start, committed: null, reason })
  }

  /** For whoever coordinates in this peer's name. */
  agreement(signal: AbortSignal): AgreementOptions {
    return { ...this.#options, acceptor: this.#member(), signal }
  }

  /** From now on this peer does the coordinator's part, too; null ends that. */
  coordinate(coordination: Coordination | null): void {
    this.#coordination = coordination
  }

  /**
   * This peer does not coordinate under this ballot any more. If the roster does not name another yet, the swarm will.
   * @param toldBy who knows more; null if this peer found out by itself
   */
  stepDown(ballot: Ballot, toldBy: PeerId | null): void {
    const { roster } = this
    if (roster !== null && compareBallots(roster.ballot, ballot) === 0) this.#deposed = true
    if (toldBy !== null) void this.#catchUp(toldBy)
  }

  /** True if this peer is to coordinate under this ballot: the roster may be another since it was elected. */
  isElected(ballot: Ballot): boolean {
    const { roster, own } = this
    if (roster === null || roster.coordinator !== own?.id) return false
    return compareBallots(roster.ballot, ballot) === 0
  }

  /** Writes down how the run ended for this peer, whichever way, and keeps the weights that it holds. */
  async conclude(outcome: Finished): Promise<void> {
    const { save, journal } = this.#options
    await this.#carrying
    const { held } = this.#custody
    if (save && held !== null) {
      const { index, stage } = held
      const path = await save(stage, index, this.committed)
      journal.write({ type: 'saved', stage: index, path })
    }
    journal.write({ type: 'finished', ...outcome })
  }

  /** Stops serving, and frees the stage. */
  async close(): Promise<void> {
    if (this.#stopping.signal.aborted) return
    const reason = new ProtocolError('REFUSED', 'this peer stops')
    this.#stopping.abort(reason)
    this.#custody.stopBuilding('this peer stops')
    for (const remove of this.#handlers) remove()
    await this.#carrying
    await this.#custody.giveUp()
  }

  #serve<Question extends { run: string }, Answer>(
    procedure: Procedure<Question, Answer>,
    service: Service<Question, Answer>,
  ): () => void {
    return serveRun(this.#options, procedure, service)
  }

  #member(): Acceptor {
    if (this.#acceptor !== null) return this.#acceptor
    throw new ProtocolError('STALE', 'this peer knows of no roster that it is in')
  }

  #coordinates(): Coordination {
    if (this.#coordination !== null) return this.#coordination
    throw new ProtocolError('REFUSED', 'this peer does not coordinate the run')
  }

  /** @param known the epoch that the asker knows: it may be in a roster that has not come here yet */
  #fromMember(from: PeerId, known: number): void {
    const { roster } = this.#member()
    if (known > roster.epoch || memberOf(roster, from) !== undefined) return
    throw new ProtocolError('NOT_MEMBER', `${from} is not in the roster of epoch ${roster.epoch}`)
  }

  #heardProposal(from: PeerId, roster: Roster): void {
    // Its own voice tells a member nothing.
    if (from === this.#options.network.self) return
    if (from === coordinatorOf(roster).peer) this.#watch.heard()
    else this.#watch.yield()
  }

  #fromCoordinator(from: PeerId): void {
    const { roster } = this.#member()
    if (from !== coordinatorOf(roster).peer) {
      throw new ProtocolError('STALE', `${from} does not coordinate epoch ${roster.epoch}`)
    }
    this.#watch.heard()
  }

  async #hello(from: PeerId, question: typeof membership.hello.question._output) {
    if (this.#coordination !== null) {
      await this.#coordination.admit(from, question)
      return { answer: { result: 'welcome' as const } }
    }
    if (this.roster === null) return { answer: { result: 'later' as const } }
    const { peer, addresses } = coordinatorOf(this.roster)
    // Named, but not at work yet; or it was this peer that was asked for itself.
    if (peer === this.#options.network.self) return { answer: { result: 'later' as const } }
    return { answer: { result: 'ask' as const, coordinator: peer, addresses } }
  }

  #heartbeat(from: PeerId, epoch: number) {
    const { roster } = this
    if (roster !== null) {
      if (memberOf(roster, from) === undefined && epoch <= roster.epoch) {
        // Who was dropped while it was silent must learn of it: it would wait for ever.
        throw new ProtocolError('NOT_MEMBER', `${from} is not in the roster any more`)
      }
      if (from === coordinatorOf(roster).peer) this.#watch.heard()
    }
    const queuedWork = this.#custody.held?.queuedWork ?? 0
    return { epoch: roster?.epoch ?? 0, session: this.session, queuedWork }
  }

  /** Why another should not coordinate; null if one is needed. */
  #objection(from: PeerId): string | null {
    const { roster } = this.#member()
    if (from === coordinatorOf(roster).peer) return null
    if (this.#coordination !== null) return 'the coordinator is here, and at work'
    return this.#watch.content ? 'the coordinator is heard of here' : null
  }

  /** Carries out a change that was chosen, after those that came before. */
  #install(epoch: number, change: Change | null, whole: Roster | undefined) {
    return this.#inTurn(() => this.#carryOut(epoch, change, whole))
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#carrying.then(work)
    this.#carrying = done.catch(() => {})
    return done
  }

  async #carryOut(epoch: number, change: Change | null, whole: Roster | undefined) {
    this.#stopping.signal.throwIfAborted()
    const before = this.roster
    if (before === null) {
      if (whole === undefined) throw new ProtocolError('STALE', 'this peer is not in a roster')
      this.#enter(whole)
    } else if (whole !== undefined) {
      this.#acceptor!.adopt(whole)
    } else if (change !== null) {
      this.#acceptor!.install(epoch, change)
    }
    const roster = this.roster!
    if (before !== null && roster.epoch === before.epoch)
      return { epoch: roster.epoch, digest: null }
    for (const { peer, addresses } of newcomersOf(before, roster)) {
      this.#options.network.learn(peer, addresses)
    }
    const own = this.own
    if (own === undefined) {
      await this.#drop(`epoch ${roster.epoch} does not name this peer: ${reasonOf(change)}`)
      throw new ProtocolError('NOT_MEMBER', 'this peer is not in that roster')
    }
    if (before === null) {
      this.#turns.add({ type: 'admitted', coordinator: coordinatorOf(roster).peer })
    }
    if (roster.resharded !== null) return this.#endResharded(before, roster, change)
    this.#watch.heard()
    if (before !== null && roster.committed < before.committed) {
      this.#keeper.forgetAfter(roster.committed)
    }
    if (before === null || compareBallots(before.ballot, roster.ballot) !== 0) {
      this.#newCoordinator(before, roster, own)
    }
    const acceptor = this.#acceptor
    try {
      const digest = await this.#custody.follow(before, roster, own)
      return { epoch: roster.epoch, digest }
    } catch (error) {
      if (this.#acceptor === acceptor) throw error
      // Its stage was given up under it.
      throw new ProtocolError('NOT_MEMBER', 'this peer was dropped meanwhile', { cause: error })
    }
  }

  /** The run ends, and goes on as another with the same members. */
  async #endResharded(before: Roster | null, roster: Roster, change: Change | null) {
    const { epoch, origin, resharded: stages } = roster
    this.#custody.stopBuilding('the run goes on with fewer stages')
    await this.#custody.giveUp()
    this.#turns.add({
      type: 'resharded',
      successors: [{ stages: stages!, origin: origin! }],
      start: { roster: { ...roster, resharded: null }, session: this.session },
      committed: before?.committed ?? null,
      reason: reasonOf(change),
    })
    return { epoch, digest: null }
  }

  /** The first roster that names this process. */
  #enter(roster: Roster): void {
    const { network } = this.#options
    if (memberOf(roster, network.self)?.session !== this.session) {
      throw new ProtocolError('NOT_MEMBER', 'that roster names another process of this peer')
    }
    this.#acceptor = new Acceptor(roster, this.#rosters)
  }

  #newCoordinator(before: Roster | null, roster: Roster, own: Entry): void {
    this.#custody.stopBuilding('another coordinates now')
    this.#deposed = false
    const { peer } = coordinatorOf(roster)
    this.#coordination?.depose(`epoch ${roster.epoch} names ${peer}`)
    if (before !== null) {
      const reason = `epoch ${roster.epoch} names it`
      this.#options.journal.write({ type: 'elected', coordinator: peer, reason })
    }
    if (roster.coordinator === own.id) this.#turns.add({ type: 'elected', ballot: roster.ballot })
  }

  /** The swarm goes on without this peer: everything that it knows of it is of the past. */
  async #drop(reason: string): Promise<void> {
    if (this.#acceptor === null) return
    this.#acceptor = null
    // What it has promised is forgotten with it: whoever joins again is another.
    this.#session = Math.max(this.#session + 1, Math.floor(this.#options.clock.now()))
    this.#options.journal.write({ type: 'dropped', reason })
    this.#custody.stopBuilding(reason)
    this.#coordination?.depose(reason)
    await this.#custody.giveUp()
    this.#turns.add({ type: 'dropped', reason })
  }

  /** Asks for the place of a lost coordinator. */
  async #standIn(reason: string, lostMs: number): Promise<void> {
    const { run, journal, clock } = this.#options
    const { signal } = this.#stopping
    const own = this.own
    if (own === undefined) return
    const outcome = await takeOver(this.agreement(signal), own, reason)
    switch (outcome.result) {
      case 'elected':
        return
      case 'removed':
        return this.#drop(`epoch ${outcome.epoch} does not name this peer`)
      case 'behind':
        return this.#catchUp(outcome.peer)
      case 'refused': {
        const message = `${reason}; nobody can take over: ${outcome.reason}. Without a majority this peer neither commits nor recovers anything`
        if (message !== this.#complaint) {
          journal.write({ type: 'waiting', stages: [], reason: message.slice(0, 2000) })
        }
        this.#complaint = message
        // Who has missed the word that the run is over finds nobody any more.
        const { committed } = this
        if (committed === run.steps) this.#turns.add({ type: 'finished', committed, failure: null })
        else if (lostMs > TIMEOUTS.strandedMs) {
          this.#turns.add({ type: 'finished', committed, failure: message })
        }
        return clock.sleep(TIMEOUTS.campaignMs, signal)
      }
    }
  }

  /** Somebody knows of a later epoch. */
  async #catchUp(peer: PeerId): Promise<void> {
    try {
      const agreement = this.agreement(this.#stopping.signal)
      const roster = await fetchRoster(agreement, peer, this.#rosters.decode)
      await this.#install(roster.epoch, null, roster)
    } catch (error) {
      this.#stopping.signal.throwIfAborted()
      // There it goes on as another.
      if (error instanceof ProtocolError && error.code === 'NOT_MEMBER') {
        return this.#drop(error.message)
      }
      const message = `could not learn the roster from ${peer}: ${(error as Error).message}`
      this.#options.journal.write({ type: 'notice', message })
    }
  }

  /** Every announcement costs each member a signature's check, so that a fast swarm must not make one a step. */
  #announce(step: Pick<Announcement, 'step' | 'loss' | 'busySeconds' | 'stage'>): void {
    const { network, clock, runId } = this.#options
    const { roster } = this
    // It may have been dropped while it applied the step.
    if (roster === null || clock.now() - this.#announcedAt < ANNOUNCEMENT_INTERVAL_MS) return
    this.#announcedAt = clock.now()
    const { epoch, members } = roster
    announce(network, runId, { ...step, epoch, members: members.length })
  }
}

function reasonOf(change: Change | null): string {
  if (change === null) return 'it was learnt of late'
  return change.type === 'commit' ? `step ${change.step}` : change.reason
}
