/**
 * The coordinator of a run: the one object that acts. Its parts report what they know: who waits to be let in or out
 * (admissions.ts), who is lost (health.ts), how far new replicas are (replica-manager.ts). `next-action.ts` decides what is
 * done next. What a step means stands in `train.ts` and `step.ts`.
 */
import type { SavedQuestion } from '../../protocols/checkpoint.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { MeetQuestion } from '../../protocols/incarnation.ts'
import type { Ballot, Member as Entry, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { LearntQuestion, ReportQuestion } from '../../protocols/step.ts'
import type { Coordination, HelloQuestion, MovedQuestion } from '../holder/coordination.ts'
import { Deposed } from '../membership/agreement.ts'
import type { Standing } from '../membership/incarnation.ts'
import { isHolder, sparesOf } from '../membership/roster.ts'
import type { Decision } from '../run/update.ts'
import type { Health } from './health.ts'
import type { Links } from './links.ts'
import { type Action, nextAction, type View } from './next-action.ts'
import { type CoordinatorOptions, createParts, type Parts } from './parts.ts'
import type { Match } from './placement.ts'
import { Round } from './round.ts'
import type { Speeds } from './speeds.ts'
import type { StageRemoval } from './stage-removal.ts'
import type { Teller } from './teller.ts'
import type { WorkFaults } from './work-faults.ts'

export class Coordinator implements Coordination {
  /** The ballot under which this peer coordinates. Under another ballot another member does, or a later Coordinator. */
  readonly term: Ballot
  readonly health: Health
  readonly speeds: Speeds
  readonly links: Links
  readonly teller: Teller
  readonly faults: WorkFaults
  readonly removal: StageRemoval
  readonly #options: CoordinatorOptions
  readonly #stopping = new AbortController()
  readonly #parts: Parts
  #round: Round | null = null
  #stepMs: number | null = null

  constructor(options: CoordinatorOptions) {
    this.#options = options
    // The step in hand starts over without the members whose time is over.
    const leavingNow = () => this.#round?.interrupt('members must leave now')
    this.#parts = createParts(options, this.#stopping.signal, leavingNow)
    this.term = this.roster.ballot
    this.health = this.#parts.health
    this.speeds = this.#parts.speeds
    this.links = this.#parts.links
    this.teller = this.#parts.teller
    this.faults = this.#parts.faults
    this.removal = this.#parts.removal
    options.member.coordinate(this)
  }

  /** Comes before anything else: a member that has not heard of this coordinator would refuse what it asks. */
  async begin(): Promise<void> {
    await this.#parts.changes.announce()
    void this.#parts.meeting.run()
  }

  get roster(): Roster {
    return this.#parts.agreement.acceptor.roster
  }

  /** Names the next step, and the epoch since which its sums grow. */
  get fence(): { run: string; epoch: number; step: number } {
    const { fenceEpoch, committed } = this.roster
    return { run: this.#parts.agreement.runId, epoch: fenceEpoch, step: committed + 1 }
  }

  /** Members that take part in steps. */
  get holders(): Entry[] {
    return this.roster.members.filter(isHolder)
  }

  /** Duration of the last step in milliseconds; null before the first one. */
  get stepMs(): number | null {
    return this.#stepMs
  }

  /** Aborts when this peer does not coordinate any more. */
  get signal(): AbortSignal {
    return this.#stopping.signal
  }

  /** Begins a round of questions, which ends the one before. The loss of a holder interrupts it. */
  beginRound(onReport?: (from: PeerId, report: ReportQuestion) => void): Round {
    this.signal.throwIfAborted()
    this.#round?.end()
    const { network } = this.#parts.agreement
    this.#round = new Round({ network, health: this.health, onReport })
    return this.#round
  }

  /** Takes lost members out of the roster in the middle of a step that goes on. */
  async amend(reason: string): Promise<void> {
    await this.#parts.changes.changeMembers({ reason })
  }

  /**
   * Has the step decided: a quorum agrees on it, and all holders apply its update.
   * @param begun when the step began, in milliseconds of the clock
   * @returns duration of the step in milliseconds
   */
  async commit(
    decision: Decision & { step: number; loss: number; version: number },
    begun: number,
  ): Promise<number> {
    this.#parts.checkpoints.begin(this.roster, decision.step)
    await this.#parts.changes.agree({ type: 'commit', ...decision })
    this.links.worked()
    await this.removal.stepMade()
    this.#stepMs = this.#parts.agreement.clock.now() - begun
    return this.#stepMs
  }

  /** Gives the step in hand up. */
  abandon(): void {
    this.#parts.changes.abandonStep()
    this.#round?.end()
    this.#round = null
  }

  /** Acts until every stage has a holder under one roster, and nobody waits to be let in or out. */
  async settle(): Promise<void> {
    for (;;) {
      this.signal.throwIfAborted()
      await this.health.settled()
      this.#parts.recovery.follow()
      const changed = this.#parts.changed.next()
      const action = nextAction(this.#view)
      if (action.type === 'settled') return this.#parts.resharding.reset()
      await this.#act(action, changed)
    }
  }

  get #view(): View {
    const { roster } = this
    const { leaving, wishes, waiting } = this.#parts.admissions
    return {
      roster,
      bodyStages: this.#options.run.stages,
      spares: this.#options.run.spares,
      wishes,
      leaving,
      replicas: this.#parts.replicas.progress,
      rebuilds: this.#parts.recovery.progress,
      relieved: this.links.relieved,
      links: this.links,
      faultsOf: (peer) => this.faults.strikesOf(peer),
      speedOf: (id) => this.speeds.of(id),
      ownId: roster.coordinator,
      isFit: this.#parts.changes.isFit,
      isStepAbandoned: this.#parts.changes.isStepAbandoned,
      newcomers: waiting,
      lost: this.health.lost.ids.length,
    }
  }

  /** @param changed resolves with the first change after the action was decided on */
  async #act(action: Exclude<Action, { type: 'settled' }>, changed: Promise<void>): Promise<void> {
    const { changes, replicas } = this.#parts
    switch (action.type) {
      case 'stepBack':
      case 'changeMembers':
      case 'release':
      case 'letGo':
        return changes.changeMembers(action.change)
      case 'advanceReplicas':
        replicas.advance(action.change.assign)
        return changes.changeMembers(action.change)
      case 'replicate':
        for (const match of action.matches) {
          const isFit = this.links.vet([match]).then((unfit) => unfit.size === 0)
          void replicas.start(match.stage, match.member, isFit)
        }
        return
      case 'relieve':
        return this.links.untilRelieved(action.id, changed)
      case 'rebuild':
        return this.#rebuild(action.matches, changed)
      case 'awaitRebuilds':
        return changed
      case 'handOver':
        return changes.handOver(action.successor)
      case 'wait':
        return this.#wait(action.stages, action.staying, changed)
      default:
        action satisfies never
    }
  }

  /** Has spares begin to rebuild stages that nobody holds. Or all members roll back. */
  async #rebuild(matches: readonly Match[], changed: Promise<void>): Promise<void> {
    for (const { member } of matches) this.#parts.replicas.forget(member.id)
    const { wishes, roster, leaving, replicas, rebuilds } = this.#view
    const isSound = (peer: PeerId) =>
      !this.links.broken.hasAny(peer) && this.faults.strikesOf(peer) === 0
    const isFree = ({ id, peer }: Entry) =>
      ![leaving, replicas, rebuilds].some((busy) => busy.has(id)) && isSound(peer)
    const candidates = { wishes, spares: sparesOf(roster).filter(isFree) }
    const vet = (given: readonly Match[]) => this.links.vet(given)
    const begun = await this.#parts.recovery.begin(matches, { ...candidates, vet })
    if (begun === 'later') return changed
    if (begun === 'begun') return
    await this.#parts.changes.rollBack(begun.step)
    this.#parts.replicas.clear()
    this.#parts.agreement.journal.write({ type: 'rollback', ...begun })
  }

  /** Waits for a peer that could take one of these stages. @throws Resharded if that took too long */
  async #wait(stages: readonly number[], staying: number, changed: Promise<void>): Promise<void> {
    // A peer that joins could not bring back what no strategy can.
    await this.#parts.recovery.check(stages)
    const reason = 'for a spare or a joiner to take them'
    this.#parts.agreement.journal.write({ type: 'waiting', stages: [...stages], reason })
    const proposal = await this.#parts.resharding.wait(staying, changed)
    if (proposal === null || this.#parts.admissions.waiting > 0 || this.health.lost.ids.length > 0)
      return
    await this.#parts.changes.reshard(proposal)
  }

  /** Tells all members that the run is over. @param failure why it ended before its last step, or null */
  async finish(failure: string | null): Promise<void> {
    if (failure === null) await this.#parts.checkpoints.over()
    // From here on nobody is let in, and a member that goes away does as it was told.
    this.stop()
    await this.#parts.changes.announceEnd(failure)
  }

  /** Gives the coordination to another member, for a fault of this peer. False if no member could be named in time. */
  stepDown(fault: string): Promise<boolean> {
    this.#round?.end()
    return this.#parts.changes.stepDown(fault)
  }

  /** Ends what is under way; the roster stays as it is. */
  stop(): void {
    this.#end(new ProtocolError('REFUSED', 'this peer does not coordinate any more'))
  }

  /** Another member coordinates: what is under way ends with Deposed. */
  depose(reason: string): void {
    this.#end(new Deposed(null, reason))
  }

  #end(reason: Error): void {
    const message = 'this peer does not coordinate any more'
    this.#options.member.coordinate(null)
    this.#parts.checkpoints.giveUp(message)
    this.#stopping.abort(reason)
    this.#round?.abort(this.signal.reason)
    this.#parts.changed.notify()
    this.#parts.admissions.end(new ProtocolError('STALE', message))
  }

  admit(from: PeerId, question: HelloQuestion): Promise<void> {
    return this.#parts.admissions.admit(from, question)
  }

  moved(from: PeerId, question: MovedQuestion): void {
    this.#parts.admissions.moved(from, question)
  }

  leave(from: PeerId, reason: string, withinMs: number | null): Promise<void> {
    return this.#parts.admissions.leave(from, reason, withinMs)
  }

  report(from: PeerId, report: ReportQuestion): void {
    const { epoch, step } = this.fence
    if (report.epoch === epoch && report.step === step) this.#round?.report(from, report)
  }

  met(from: PeerId, other: MeetQuestion): void {
    this.#parts.meeting.met(from, other)
  }

  supersede(other: Standing): void {
    this.#parts.meeting.supersede(other)
  }

  learnt(from: PeerId, facts: LearntQuestion): void {
    this.#parts.replicas.learnt(from, facts)
  }

  saved(from: PeerId, facts: SavedQuestion): void {
    this.#parts.checkpoints.saved(from, facts)
  }
}
