/** A peer's side of the run: it follows the roster, holds at most one stage, and does what the coordinator asks. */
import { announce, listen } from '../../protocols/announcement.ts'
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Contact, HeldState, Lineage } from '../../protocols/incarnation.ts'
import type { Ballot, Member as Entry, Roster, Successor } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import type { AnyStage } from '../../stages/stage.ts'
import type { Journal } from '../base/journal.ts'
import { type KnownMembers, MembersInMemory } from '../base/known-members.ts'
import { ANNOUNCEMENT_INTERVAL_MS } from '../base/limits.ts'
import { DiskUpkeep } from '../checkpoint/disk-upkeep.ts'
import type { StageDisk } from '../checkpoint/stage-disk.ts'
import type { Store } from '../checkpoint/store.ts'
import { Keeper, serveCopies } from '../copies/keeper.ts'
import { AddressAnnouncer } from '../membership/address-announcer.ts'
import type { AgreementOptions } from '../membership/agreement.ts'
import { Belief } from '../membership/belief.ts'
import type { Border } from '../membership/border.ts'
import { Conduct } from '../membership/conduct.ts'
import { CoordinatorMonitor } from '../membership/coordinator-monitor.ts'
import { Foundings } from '../membership/foundings.ts'
import { Incarnation, lostSteps } from '../membership/incarnation.ts'
import {
  type Finished,
  type MemberEvent,
  MemberEvents,
  type Start,
} from '../membership/member-events.ts'
import { Parted } from '../membership/parted.ts'
import { compareBallots, coordinatorOf, memberOf, type RosterSource } from '../membership/roster.ts'
import type { Ancestor } from '../membership/serve-run.ts'
import { UndecidedPeers } from '../membership/undecided.ts'
import type { BatchSource } from '../run/batch-source.ts'
import type { Run } from '../run/run.ts'
import { Candidate } from './candidate.ts'
import type { Coordination } from './coordination.ts'
import { Founding } from './founding.ts'
import { noticingStage } from './noticing-stage.ts'
import { OwnFaults } from './own-faults.ts'
import type { Resume } from './resume.ts'
import { Returning } from './returning.ts'
import { type RosterChange, RosterFollower, reasonOf } from './roster-follower.ts'
import { serveWork } from './serve-work.ts'
import { type ServiceContext, serveMember } from './services.ts'
import { type AppliedStep, StageFollower } from './stage-follower.ts'
import { StageSlot } from './stage-slot.ts'

/** Beginning of the reason of a change by which a coordinator steps down for a fault of its own. */
export const STEPS_DOWN = 'the coordinator steps down'

export interface MemberOptions {
  readonly run: Run
  readonly runId: string
  readonly network: Network
  readonly clock: Clock
  readonly journal: Journal
  /** Failure domain: members of one domain are likely to be lost together. */
  readonly domain?: string
  /** Where checkpoints lie, the same place for all members; null if this peer was given none. */
  readonly checkpoints?: Store | null
  /** The states of stages on this peer's disk; null if it has no disk for them. */
  readonly disk?: StageDisk | null
  /** Builds a stage with the run's initial weights. @param isSecond true for a stage beside the active one */
  createStage(stage: number, isSecond?: boolean): Promise<AnyStage>
  /** Members of one process may share the rosters that they make. Without this option each makes its own. */
  readonly rosters?: RosterSource
  /** Reads the corpus. Called for the ends only. @throws InputError if it is missing or another one */
  loadData(donors: () => readonly PeerId[]): Promise<BatchSource>
  /** The checkpoint that the run starts from if this peer founds it, and where this peer reads its stage. */
  readonly resume?: Resume | undefined
  /** The runs that became this one. Peers that ask for one of them are told. */
  readonly ancestors?: readonly Ancestor[]
  /** The session and roster of a process that continues from another run; null for one that begins. */
  readonly start?: Start | null
  /** The incarnation of the run that this peer is in, which the network's messages name. That of the founding if left out. */
  readonly incarnation?: Incarnation
  /** Keeps the members of the latest roster for a search. @default in memory */
  readonly knownMembers?: KnownMembers
  /** Saves the final weights of the active stage, as they are after `step`. @returns the path */
  save?(stage: AnyStage, index: number, step: number): Promise<string>
}

/** A peer's part in a run. The class is longer than others, since it makes all parts of a member and connects them. */
export class Member {
  /** The members that a search asks first. */
  readonly knownMembers: KnownMembers
  /** The peers that search for the run as this one does. */
  readonly undecided: UndecidedPeers
  /** Continues a run of which every process ended. */
  readonly returning: Returning
  /** Whose rosters this peer takes. */
  readonly belief: Belief
  /** The peers that held a stage beside this one, and are not members any more. */
  readonly parted = new Parted()
  /** Makes one run of two foundings of it. */
  readonly foundings: Foundings
  readonly #options: MemberOptions
  readonly #stopping = new AbortController()
  readonly #events = new MemberEvents()
  readonly #follower: RosterFollower
  readonly #monitor: CoordinatorMonitor
  readonly #border: Border
  readonly #conduct: Conduct
  readonly #slot: StageSlot
  readonly #stages: StageFollower
  readonly #disk: DiskUpkeep
  readonly #keeper: Keeper
  readonly incarnation: Incarnation
  readonly founding: Founding
  /** The coordinator of the incarnation that this peer enters; null before, and once it is in a roster. */
  #contact: Contact | null = null
  readonly #stopServing: readonly (() => void)[]
  #coordination: Coordination | null = null
  /** True if the roster names this peer as the coordinator, but the peer has stepped down. */
  #deposed = false
  /** Why coordinators stepped down since the last committed step, as far as this peer was told. */
  #stepDowns: string[] = []
  #announcedAt = Number.NEGATIVE_INFINITY
  #hasBeenIn = false

  constructor(options: MemberOptions) {
    this.#options = options
    const { start = null, network, clock } = options
    this.knownMembers = options.knownMembers ?? new MembersInMemory(network.self)
    this.undecided = new UndecidedPeers(network.self, clock)
    this.#border = {
      roster: () => follower.roster,
      heardCoordinator: () => this.#monitor.heard(),
    }
    this.#conduct = new Conduct({
      ...options,
      signal: this.#stopping.signal,
      isMember: (peer) => follower.roster !== null && memberOf(follower.roster, peer) !== undefined,
    })
    this.foundings = new Foundings({
      ...options,
      roster: () => this.roster,
      coordinates: () => this.#coordination !== null,
      drop: (reason) => this.#follower.drop(reason),
    })
    const { signal } = this.#stopping
    const events = this.#events
    this.#keeper = new Keeper(options.run)
    const incarnation = options.incarnation ?? new Incarnation(options.runId)
    this.incarnation = incarnation
    const belief = new Belief({
      ...options,
      signal,
      acceptor: () => follower.acceptor,
      hearsCoordinator: () => this.#hearsCoordinator,
    })
    this.belief = belief
    const follower: RosterFollower = new RosterFollower({
      ...options,
      belief,
      start,
      signal,
      carryOut: (change) => this.#carryOut(change),
      dropped: (reason) => this.#dropped(reason),
      incarnation,
      minority: (ms, roster, answering) => this.founding.coordinatorWaits(ms, roster, answering),
    })
    this.#follower = follower
    if (start?.roster != null) this.#continueFrom(start.roster)
    const known = { ...options, signal, roster: () => follower.roster, own: () => follower.own }
    const announcer = new AddressAnnouncer(known)
    this.#monitor = new CoordinatorMonitor({
      ...known,
      beforeCheck: () => announcer.check(),
      deposed: () => this.#deposed,
      dropped: (reason) => void follower.drop(reason),
      tryToTakeOver: (reason, lostMs) => candidate.tryToTakeOver(reason, lostMs),
    })
    const createStage = noticed(options, events, () => this.committed)
    this.#disk = new DiskUpkeep({
      ...options,
      disk: options.disk ?? null,
      lineage: () => (follower.roster === null ? null : incarnation.lineage),
      kept: () => this.#keeper.complete,
    })
    this.returning = new Returning({
      ...options,
      border: this.#border,
      conduct: this.#conduct,
      disk: this.#disk,
      undecided: this.undecided,
      knownMembers: this.knownMembers,
      rosters: follower.rosters,
      isOutside: () => follower.roster === null,
      session: () => follower.session,
      roster: () => follower.roster,
      incarnate: (lineage, roster) => follower.incarnate(lineage, roster),
    })
    this.#slot = new StageSlot({ ...known, createStage, diskUpkeep: this.#disk })
    this.founding = new Founding({
      ...options,
      signal,
      incarnation,
      follower,
      monitor: this.#monitor,
      held: () => this.#held(),
      copies: () => [...this.#keeper.copies, ...this.#slot.understudy.copies, ...this.#disk.copies],
      coordination: () => this.#coordination,
      enter: (lineage, contact, reason) => this.#enter(lineage, contact, reason),
    })
    const candidate = new Candidate({
      ...options,
      signal,
      follower,
      events,
      founding: this.founding,
    })
    void this.#monitor.run()
    this.#stages = new StageFollower({
      ...known,
      slot: this.#slot,
      committed: (step) => this.#announce(step),
    })
    this.#stopServing = this.#serve()
  }

  #serve(): (() => void)[] {
    const { network, runId } = this.#options
    const follower = this.#follower
    const slot = this.#slot
    const context: ServiceContext = {
      ...this.#options,
      border: this.#border,
      conduct: this.#conduct,
      follower,
      belief: this.belief,
      monitor: this.#monitor,
      events: this.#events,
      incarnation: this.incarnation,
      founding: this.founding,
      superseded: (lineage, contact) => this.superseded(lineage, contact),
      undecided: this.undecided,
      foundings: this.foundings,
      coordination: () => this.#coordination,
      work: () => slot.active?.work ?? { queuedWork: 0, workingMs: 0 },
    }
    return [
      // A member needs no announcements, but it passes on only those that it listens to.
      listen(network, runId, () => {}),
      ...serveMember(context),
      ...serveWork({
        ...this.#options,
        ...context,
        slot,
        roster: () => follower.expectAcceptor().roster,
        inTurn: (work) => follower.inTurn(work),
      }),
      ...this.returning.serve(),
      ...serveCopies(context, this.#keeper, this.#disk, {
        understudied: () => slot.understudy.copies,
        rebuilding: () => slot.rebuilding,
      }),
    ]
  }

  get #hearsCoordinator(): boolean {
    // A coordinator that has long had no majority may be the one that knows least.
    if (this.#deposed || this.founding.isUndecided) return false
    return this.#coordination !== null || this.#monitor.hearsCoordinator
  }

  /** Tells this process, and what it has promised, from others with the same peer id. */
  get session(): number {
    return this.#follower.session
  }

  /** The roster as far as this peer knows it; null while it is in none. */
  get roster(): Roster | null {
    return this.#follower.roster
  }

  /** This process in the roster. */
  get own(): Entry | undefined {
    return this.#follower.own
  }

  /** True if this process has been in a roster of the run. */
  get hasBeenIn(): boolean {
    return this.#hasBeenIn
  }

  /** The last committed step; 0 while this peer is in no roster. */
  get committed(): number {
    return this.roster?.committed ?? 0
  }

  /** Why coordinators stepped down since the last committed step, as far as this peer was told. */
  get stepDowns(): readonly string[] {
    return this.#stepDowns
  }

  /** The next event that changes what this peer does. */
  next(): Promise<MemberEvent> {
    return this.#events.next()
  }

  /** Begins the run with a roster of this peer alone, which coordinates it. */
  found(): void {
    const { domain = '', resume } = this.#options
    this.foundings.begin()
    const { ballot } = this.#follower.found(domain, resume?.origin)
    this.#events.add({ type: 'elected', ballot })
  }

  /** The peer that this one asked to be let in says that the run continues as another. */
  resharded(from: PeerId, successors: readonly Successor[]): void {
    const start = { roster: null, session: this.session }
    const reason = `${from} says so`
    this.#events.add({ type: 'resharded', successors, start, committed: null, reason })
  }

  /** This incarnation is over. This peer gives up what belongs to it, and enters the one that stays. */
  superseded(lineage: Lineage, contact: Contact): void {
    const { id, number, lineage: own } = this.incarnation
    const { committed } = this
    this.#options.journal.write({
      type: 'superseded',
      from: number,
      to: lineage.record?.number ?? 0,
      coordinator: contact.peer,
      committed,
      lostSteps: lostSteps({ incarnation: id, committed, lineage: own }, lineage),
    })
    void this.#enter(lineage, contact, 'another incarnation of the run stays')
  }

  async #enter(lineage: Lineage, contact: Contact, reason: string): Promise<void> {
    this.#contact = contact
    await this.#follower.enter(lineage, reason)
  }

  /** The stage that this peer holds, as after the last step; null if it holds none. */
  #held(): HeldState | null {
    const { active } = this.#slot
    const { roster } = this
    if (active === null || roster === null) return null
    return { stage: active.index, step: roster.committed, live: true }
  }

  /** Options of the agreement, for the coordinator of this peer. @throws ProtocolError STALE in no roster */
  agreement(signal: AbortSignal): AgreementOptions {
    return this.#follower.agreement(signal)
  }

  /** Sets the coordinator's part of this peer; null ends it. */
  coordinate(coordination: Coordination | null): void {
    this.#coordination = coordination
  }

  /**
   * This peer stops to coordinate under this ballot. If the roster names no other coordinator yet, one will be elected.
   * @param toldBy a peer that knows a later roster; null if this peer found out by itself
   */
  stepDown(ballot: Ballot, toldBy: PeerId | null): void {
    const { roster } = this
    if (roster !== null && compareBallots(roster.ballot, ballot) === 0) this.#deposed = true
    if (toldBy === null) return
    this.#follower.catchUp(toldBy).catch((error: unknown) => {
      if (!this.#stopping.signal.aborted) throw error
    })
  }

  /** This peer leaves the roster on its own account, so that the others miss it at once. It may join again. */
  leaveRoster(reason: string): Promise<void> {
    return this.#follower.drop(reason)
  }

  /** True if this peer is to coordinate under this ballot. */
  isElected(ballot: Ballot): boolean {
    return this.#follower.isElected(ballot)
  }

  /** Journals how the run ended for this peer, and saves the weights of its active stage. @throws what saving throws */
  async conclude(outcome: Finished): Promise<void> {
    const { save, journal } = this.#options
    await this.#follower.settled()
    const { active } = this.#slot
    try {
      if (save && active !== null) {
        const { index, stage } = active
        const path = await save(stage, index, this.committed)
        journal.write({ type: 'saved', stage: index, path })
      }
      // After its last step the run needs no state any more. Any other end may be followed by a return.
      if (outcome.failure === null && !outcome.left) await this.#disk.clear()
    } finally {
      journal.write({ type: 'finished', ...outcome })
    }
  }

  /** Stops serving, and frees the stage. */
  async close(): Promise<void> {
    if (this.#stopping.signal.aborted) return
    const reason = new ProtocolError('REFUSED', 'this peer stops')
    this.#stopping.abort(reason)
    this.#slot.stopBuilding(reason.message)
    for (const stop of this.#stopServing) stop()
    await this.#follower.settled()
    await this.#slot.giveUp()
    await this.#disk.settled()
  }

  /** Continues from the last roster of the run that became this one. */
  #continueFrom(roster: Roster): void {
    this.knownMembers.keep(roster)
    const coordinator = coordinatorOf(roster).peer
    this.#events.add(
      roster.coordinator === this.own?.id
        ? { type: 'elected', ballot: roster.ballot }
        : { type: 'admitted', coordinator },
    )
  }

  /** Does what a new roster says, part by part. */
  async #carryOut(change: RosterChange): Promise<string | null> {
    const { before, roster, own } = change
    this.#hasBeenIn = true
    this.knownMembers.keep(roster)
    this.parted.follow(before, roster)
    this.#contact = null
    if (before === null) {
      this.#events.add({ type: 'admitted', coordinator: coordinatorOf(roster).peer })
    }
    if (roster.resharded !== null) {
      await this.#endResharded(change)
      return null
    }
    this.#monitor.heard()
    if (before !== null && roster.committed > before.committed) this.#stepDowns = []
    if (before !== null && roster.committed < before.committed) {
      this.#keeper.forgetAfter(roster.committed)
      this.#disk.forgetAfter(roster.committed)
    }
    this.#keeper.follow(roster, own.id)
    if (before === null || compareBallots(before.ballot, roster.ballot) !== 0) {
      this.#newCoordinator(change)
    }
    const digest = await this.#stages.follow(before, roster, own)
    if (before !== null && roster.committed > before.committed) {
      this.#disk.committed(this.#slot.active, roster)
    }
    return digest
  }

  /** The run ends, and continues as another with the same members and fewer stages. */
  async #endResharded({ before, roster, change }: RosterChange): Promise<void> {
    const { origin, resharded: stages } = roster
    this.#slot.stopBuilding('the run continues with fewer stages')
    await this.#slot.giveUp()
    this.#events.add({
      type: 'resharded',
      successors: [{ stages: stages!, origin: origin! }],
      start: { roster: { ...roster, resharded: null }, session: this.session },
      committed: before?.committed ?? null,
      reason: reasonOf(change),
    })
  }

  #newCoordinator({ before, roster, own, change }: RosterChange): void {
    this.#slot.stopBuildingReplica('another coordinates now')
    this.#deposed = false
    const { peer } = coordinatorOf(roster)
    this.#coordination?.depose(`epoch ${roster.epoch} names ${peer}`)
    const why = reasonOf(change)
    if (why.startsWith(STEPS_DOWN)) this.#stepDowns.push(why)
    if (before !== null) {
      const reason = `epoch ${roster.epoch} names it: ${why}`
      this.#options.journal.write({ type: 'elected', coordinator: peer, reason })
    }
    if (roster.coordinator === own.id) this.#events.add({ type: 'elected', ballot: roster.ballot })
  }

  /** The run continues without this peer: its stage and its coordination are of no use any more. */
  async #dropped(reason: string): Promise<void> {
    this.#options.journal.write({ type: 'dropped', reason })
    this.#slot.stopBuilding(reason)
    this.#coordination?.depose(reason)
    this.#keeper.clear()
    await this.#slot.giveUp()
    const through = this.foundings.end() ?? this.#contact ?? undefined
    this.#events.add({ type: 'dropped', reason, through })
  }

  /** Each announcement costs every member a signature check. A fast swarm therefore does not announce every step. */
  #announce(step: AppliedStep): void {
    const { network, clock, runId } = this.#options
    const { roster } = this
    // This peer may have been dropped while it applied the step.
    if (roster === null || clock.now() - this.#announcedAt < ANNOUNCEMENT_INTERVAL_MS) return
    this.#announcedAt = clock.now()
    const { epoch, members } = roster
    announce(network, runId, { ...step, epoch, members: members.length })
  }
}

/** Creates stages, and counts those that are lost by a fault of this peer. Too many of them end the run for it. */
function noticed(
  options: MemberOptions,
  events: MemberEvents,
  committed: () => number,
): MemberOptions['createStage'] {
  const faults = new OwnFaults({
    ...options,
    leave: (failure) => events.add({ type: 'finished', committed: committed(), failure }),
  })
  return async (stage, isSecond) => {
    const created = await options.createStage(stage, isSecond)
    return noticingStage(created, (reason) => faults.note(reason))
  }
}
