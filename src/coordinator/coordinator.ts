/**
 * The coordinator's hold on the swarm: the roster, who is suspected, who waits to be let in or out, and the questions
 * that go to holders. It knows nothing of what a step means; `step.ts` and `train.ts` do.
 */
import { ASSIGNS_MAX, type Assignment, type Change, JOINS_MAX } from '../../protocols/agreement.ts'
import type { SavedQuestion } from '../../protocols/checkpoint.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Ballot, Member as Entry, Roster } from '../../protocols/membership.ts'
import * as membership from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { ask, type Procedure } from '../../protocols/procedure.ts'
import type { LearntQuestion, ReportQuestion } from '../../protocols/step.ts'
import { FINISH_ATTEMPTS, NEWCOMERS_MAX, TIMEOUTS } from '../base/limits.ts'
import { CheckpointCoordinator } from '../checkpoint/checkpoint-coordinator.ts'
import type { Store } from '../checkpoint/store.ts'
import type { Coordination } from '../holder/coordination.ts'
import type { Member } from '../holder/member.ts'
import { type AgreementOptions, choose, Deposed, type Proposal } from '../membership/agreement.ts'
import { installAll, spread } from '../membership/install.ts'
import { emptyStages, holdersOf, isFresh, memberById, memberOf } from '../membership/roster.ts'
import type { Run } from '../run/run.ts'
import type { Decision } from '../run/update.ts'
import { deviating } from './digests.ts'
import { Liveness } from './liveness.ts'
import { LostMembers } from './lost-members.ts'
import { isLearnt, type Match, place, type Situation } from './placement.ts'
import { ReplicaManager } from './replica-manager.ts'
import { Resharding } from './resharding.ts'
import { Speeds } from './speeds.ts'
import { StageRecovery } from './stage-recovery.ts'

export interface CoordinatorOptions {
  readonly run: Run
  /** This peer, which the roster names as the coordinator. */
  readonly member: Member
  /** The stage that this peer insists on, or null. */
  readonly wish: number | null
  readonly checkpoints?: Store | null
  /** Left out, it waits for ever for who could take a stage. */
  readonly reshardAfterMs?: number | undefined
}

interface Leaving {
  /** Waits for a joiner if nobody can take its stage. */
  readonly patient: boolean
  readonly gone: PromiseWithResolvers<void>
}

/** The coordinator has left in order, and another has its place. */
export class HandedOver extends Error {
  override readonly name = 'HandedOver'
}

type Newcomer = Omit<Entry, 'id' | 'stage' | 'ready'>

export class Coordinator implements Coordination {
  /** The ballot under which this peer coordinates; under another it would be another's, or a later Swarm's, to do so. */
  readonly term: Ballot
  readonly speeds = new Speeds()
  /** What the last step took; null before the first. */
  stepMs: number | null = null
  readonly #run: Run
  readonly #member: Member
  readonly #agreement: AgreementOptions
  readonly #stopping = new AbortController()
  #joining: Newcomer[] = []
  /** The stage that a peer insists on holding. */
  readonly #wishes = new Map<PeerId, number | null>()
  readonly #liveness: Liveness
  readonly #absentees: LostMembers
  /** Members that want to go, by id. */
  readonly #leaving = new Map<number, Leaving>()
  /** Members that are to be replicas. */
  readonly #learners: ReplicaManager
  readonly #saves: CheckpointCoordinator
  readonly #filling: StageRecovery
  readonly #resharding: Resharding
  /** Aborts when a holder is lost: what is being asked of the swarm then must be looked at again. */
  #round = new AbortController()
  /** The step in hand was given up: its sums must be emptied. */
  #stale = false
  /** This peer could not carry out what was agreed: the roster gives it a stage that it does not hold any more. */
  #unfit = false
  #changed = Promise.withResolvers<void>()
  #onReport: ((from: PeerId, report: ReportQuestion) => void) | null = null

  constructor({
    run,
    member,
    wish,
    checkpoints = null,
    reshardAfterMs = Number.POSITIVE_INFINITY,
  }: CoordinatorOptions) {
    this.#run = run
    this.#member = member
    this.#agreement = member.agreement(this.#stopping.signal)
    this.term = this.roster.ballot
    this.#wishes.set(this.#agreement.network.self, wish)
    this.#liveness = new Liveness({
      ...this.#agreement,
      roster: () => this.roster,
      lose: (peer, reason) => this.#absentees.miss(peer, reason),
    })
    this.#absentees = new LostMembers({
      ...this.#agreement,
      roster: () => this.roster,
      reach: (who) => this.#liveness.queuedWorkOf(who),
      lost: (who) => this.#onLoss(who),
      returned: (stage) => this.#filling.returned(stage),
    })
    this.#learners = new ReplicaManager({
      ...this.#agreement,
      roster: () => this.roster,
      failed: (id, peer, reason) => this.#filling.failed(id, peer, reason),
      changed: () => this.#changed.resolve(),
    })
    this.#saves = new CheckpointCoordinator({
      ...this.#agreement,
      run,
      checkpoints,
      roster: () => this.roster,
    })
    this.#filling = new StageRecovery({
      ...this.#agreement,
      run,
      saves: this.#saves,
      ask: (...what) => this.ask(...what),
      lose: (peer, reason) => this.lose(peer, reason),
      goBack: (step) => this.#goBack(step),
    })
    this.#resharding = new Resharding({
      ...this.#agreement,
      run,
      saves: this.#saves,
      term: this.term,
      afterMs: reshardAfterMs,
      isMoving: () => this.#isMoving,
    })
    member.coordinate(this)
  }

  /** Before anything else: a member that has not heard of this coordinator would refuse what it asks. */
  async begin(): Promise<void> {
    const { journal } = this.#agreement
    journal.write({ type: 'roster', roster: this.roster, reason: 'this peer coordinates' })
    for (const { member, failure } of await spread(this.#agreement, this.roster)) {
      this.#absentees.miss(
        member.peer,
        `it does not know epoch ${this.roster.epoch}: ${failure!.message}`,
      )
    }
  }

  get roster(): Roster {
    return this.#agreement.acceptor.roster
  }

  get ownId(): number {
    return this.roster.coordinator
  }

  /** Names the next step, and the epoch since which its sums grow. */
  get fence(): { run: string; epoch: number; step: number } {
    const { fenceEpoch, committed } = this.roster
    return { run: this.#agreement.runId, epoch: fenceEpoch, step: committed + 1 }
  }

  /** Those that have a part in steps. */
  get holders(): Entry[] {
    return this.roster.members.filter(({ stage, ready }) => stage !== null && ready)
  }

  /** Somebody is to be let in, or out. */
  get #isMoving(): boolean {
    return this.#joining.length > 0 || this.#absentees.ids.length > 0
  }

  get signal(): AbortSignal {
    return this.#stopping.signal
  }

  /** Questions asked from now on are given up when a holder is lost or trouble is reported. */
  beginRound(onReport: (from: PeerId, report: ReportQuestion) => void): void {
    this.#round = new AbortController()
    this.#onReport = onReport
    // What happened before counts, too.
    for (const { ready, stage } of this.#absentees.members) {
      if (ready && stage !== null) this.interrupt('a holder was lost')
    }
  }

  /** Ends the round: what is asked must be looked at again. */
  interrupt(reason: string): void {
    this.#round.abort(new ProtocolError('PEER_LOST', reason))
  }

  /** Asks a member within the round. One that may be gone is looked at before the failure is told. */
  async ask<Question, Answer>(
    peer: PeerId,
    what: Procedure<Question, Answer>,
    question: Question,
    timeoutMs: number,
  ): Promise<Answer> {
    try {
      const options = { timeoutMs, signal: this.#round.signal }
      const answer = await ask(this.#agreement.network, peer, what, question, options)
      this.#liveness.heard(peer)
      return answer
    } catch (error) {
      if (error instanceof ProtocolError && isSuspicious(error) && !this.#round.signal.aborted) {
        await this.#liveness.suspect(peer, error.message)
      }
      throw error
    }
  }

  suspect(peer: PeerId, reason: string): Promise<void> {
    return this.#liveness.suspect(peer, reason)
  }

  /**
   * Of holders that a step waits for, lets those go that have work before them while others wait, if their stage has
   * another holder: what they had a part in goes over to it, and they may join again.
   */
  async dropStragglers(waitedFor: readonly Entry[], afterMs: number): Promise<void> {
    for (const member of waitedFor) {
      const others = holdersOf(this.roster, member.stage!).filter(
        ({ id }) => id !== member.id && !this.#absentees.has(id),
      )
      if (others.length === 0 || member.id === this.ownId) continue
      const ready = await this.#liveness.queuedWorkOf(member).catch(() => null)
      if (ready === null || ready === 0) continue
      this.lose(
        member.peer,
        `it holds the step up: ${ready} microbatches before it after ${afterMs} ms`,
      )
      return
    }
  }

  /** Members that are known to be lost and still in the roster. Waits for what is suspected to be known. */
  async losses(): Promise<Entry[]> {
    await this.#liveness.settled()
    return this.#absentees.members
  }

  /** Takes lost members out of the roster in the middle of a step that goes on. */
  async amend(reason: string): Promise<void> {
    await this.#changeMembers({ restart: false, reason })
  }

  /** Has the step decided: from then on it is made, and everyone applies it. */
  async commit(
    decision: Decision & { step: number; loss: number; version: number },
  ): Promise<void> {
    this.#saves.begin(this.roster, decision.step)
    await this.#agree({ type: 'commit', ...decision })
  }

  /** Gives up the step in hand. */
  abandon(): void {
    this.#stale = true
    this.#onReport = null
  }

  /**
   * Brings the swarm to where every stage has a live holder under one roster: lets in who waits, lets go who is lost or
   * leaves, fills empty stages, makes replicas. Waits for a joiner when there is nobody to take a stage.
   */
  async settle(): Promise<void> {
    for (;;) {
      this.#stopping.signal.throwIfAborted()
      await this.#liveness.settled()
      this.#changed = Promise.withResolvers()
      this.#round = new AbortController()
      if (!this.#unfit && (this.#stale || this.#isMoving)) {
        await this.#changeMembers({ restart: this.#stale, reason: 'members changed' })
        continue
      }
      if (this.#unfit) {
        const assign = [{ id: this.ownId, stage: null, ready: true }]
        const reason = 'the coordinator has lost its stage'
        this.#unfit = false
        await this.#changeMembers({ assign, restart: true, reason })
        continue
      }
      const moved = this.#learners.advance()
      if (moved.length > 0) {
        await this.#changeMembers({ assign: moved, restart: false, reason: 'replicas get on' })
        continue
      }
      const { matches, release } = place(this.#situation)
      // A stage that others hold is learnt while they go on; before the first step there is nothing to learn.
      const learnt = matches.filter(({ stage }) => this.#canBeLearnt(stage))
      for (const { stage, member } of learnt) void this.#learners.start(stage, member)
      const filled = matches.filter((match) => !learnt.includes(match))
      if (filled.length > 0) {
        await this.#fill(filled.slice(0, ASSIGNS_MAX))
        continue
      }
      if (release !== null) {
        const assign = [{ id: release.id, stage: null, ready: true }]
        await this.#changeMembers({ assign, restart: false, reason: 'a stage needs a holder more' })
        continue
      }
      if (await this.#letGo()) continue
      const empty = emptyStages(this.roster, this.#run.stages)
      if (empty.length === 0) return this.#resharding.reset()
      await this.#wait(empty)
    }
  }

  /** Tells everyone that the run is over. Who cannot be told in a few attempts finds out when nobody answers it. */
  async finish(failure: string | null): Promise<void> {
    if (failure === null) await this.#saves.over()
    // From here on nobody is let in, and who goes away does as it was told.
    this.stop()
    const { network, clock, runId } = this.#agreement
    const question = { run: runId, committed: this.roster.committed, failure }
    const options = { timeoutMs: TIMEOUTS.rosterMs }
    let untold = this.roster.members.filter(({ peer }) => peer !== network.self)
    for (let attempt = 1; untold.length > 0 && attempt <= FINISH_ATTEMPTS; attempt++) {
      if (attempt > 1) await clock.sleep(TIMEOUTS.retryMs)
      const told = await Promise.allSettled(
        untold.map(({ peer }) => ask(network, peer, membership.finish, question, options)),
      )
      untold = untold.filter((_, i) => isUnsure(told[i]!))
    }
  }

  /** Ends what is under way; the roster stays as it is. */
  stop(): void {
    this.#end(new ProtocolError('REFUSED', 'this peer does not coordinate any more'))
  }

  #end(reason: Error): void {
    this.#member.coordinate(null)
    this.#saves.giveUp('this peer does not coordinate any more')
    this.#stopping.abort(reason)
    this.#round.abort(this.#stopping.signal.reason)
    this.#changed.resolve()
    const elsewhere = new ProtocolError('STALE', 'this peer does not coordinate any more')
    for (const { gone } of this.#leaving.values()) gone.reject(elsewhere)
  }

  /** What is under way ends with Deposed. */
  depose(reason: string): void {
    this.#end(new Deposed(null, reason))
  }

  async admit(from: PeerId, question: typeof membership.hello.question._output): Promise<void> {
    const { addresses, session, domain, stage, resumes } = question
    if (stage !== null && stage > this.#run.stages) {
      const count = this.#run.stages + 1
      const which = `stages are 0..${this.#run.stages}`
      throw new ProtocolError('REFUSED', `stage ${stage} of ${count}: ${which}`)
    }
    if (resumes && this.roster.origin === null && isFresh(this.roster)) {
      throw new ProtocolError(
        'REFUSED',
        'The run there has begun anew, without --resume: stop its peers, and start the first one with --resume.',
      )
    }
    // Its question was asked again, since the answer came too late: it waits already, or is in.
    if (this.#joining.some((each) => each.peer === from && each.session === session)) return
    const known = memberOf(this.roster, from)
    if (known?.session === session) return
    if (this.#joining.length >= NEWCOMERS_MAX) {
      throw new ProtocolError('BUSY', `${NEWCOMERS_MAX} newcomers wait to be let in already`)
    }
    if (known !== undefined) await this.#replace(known)
    const earlier = this.#joining.findIndex(({ peer }) => peer === from)
    if (earlier >= 0) this.#joining.splice(earlier, 1)
    this.#wishes.set(from, stage)
    this.#joining.push({ peer: from, session, addresses, domain })
    this.#agreement.network.learn(from, addresses)
    this.#changed.resolve()
  }

  /** Resolves when the member is out of the roster, and its stage in other hands if somebody can take it. */
  async leave(from: PeerId, reason: string, patient: boolean): Promise<void> {
    const known = memberOf(this.roster, from)
    if (known === undefined) return
    const leaving = this.#leaving.get(known.id) ?? { patient, gone: Promise.withResolvers<void>() }
    this.#leaving.set(known.id, leaving)
    leaving.gone.promise.catch(() => {})
    const message = `${from} is about to leave: ${reason}`
    this.#agreement.journal.write({ type: 'notice', message })
    this.#changed.resolve()
    await leaving.gone.promise
  }

  report(from: PeerId, report: ReportQuestion): void {
    const { epoch, step } = this.fence
    if (report.epoch !== epoch || report.step !== step) return
    this.#onReport?.(from, report)
  }

  lose(peer: PeerId, reason: string): void {
    this.#absentees.add(peer, reason)
  }

  #onLoss({ peer, stage, ready }: Entry): void {
    if (stage !== null && ready) {
      const left = holdersOf(this.roster, stage).filter(({ id }) => !this.#absentees.has(id))
      if (left.length === 0) this.#filling.emptied(stage)
      // A lost spare, or one that learns, disturbs no step; the roster is renewed at the next one.
      this.interrupt(`stage ${stage} lost ${peer}`)
    }
    this.#changed.resolve()
  }

  /** A process that bears the name of a member: either that one is gone, or there are two with one key. */
  async #replace({ peer, session }: Entry): Promise<void> {
    const { network, runId } = this.#agreement
    const question = { run: runId, epoch: this.roster.epoch }
    const options = { timeoutMs: TIMEOUTS.reconnectMs, signal: this.signal }
    const answer = await ask(network, peer, membership.heartbeat, question, options).catch(
      () => null,
    )
    if (answer?.session === session) {
      throw new ProtocolError(
        'REFUSED',
        `another process with the identity ${peer} is in the run: give each its own --data-dir`,
      )
    }
    this.lose(peer, 'it was started again')
  }

  /** Lets those in and out who wait for it. */
  async #changeMembers(more: {
    readonly restart: boolean
    readonly reason: string
    readonly assign?: readonly Assignment[]
    readonly leave?: readonly number[]
  }): Promise<void> {
    const { reason, restart, assign = [], leave = [] } = more
    await this.#absentees.quorum()
    const lost = this.#absentees.ids
    // They stay among those who wait until they are in: whoever asks again meanwhile must not be let in twice. Never
    // more than there are members left: should none of them ever hear of it, those are still a quorum.
    const left = this.roster.members.length - lost.length - leave.length
    const join = this.#joining.slice(0, Math.min(JOINS_MAX, left))
    await this.#agree({
      type: 'members',
      join,
      leave: [...lost, ...leave],
      assign: [...assign],
      restart,
      reason,
    })
    if (restart) this.#stale = false
  }

  /** Has a change chosen and carried out. Who does not carry it out is lost. */
  async #agree(proposal: Proposal): Promise<void> {
    const { journal, network } = this.#agreement
    const before = this.roster
    this.#stopping.signal.throwIfAborted()
    const { coordinator } = before
    const ballot = this.term
    const change: Change = { ...proposal, coordinator, ballot }
    const after = await choose(this.#agreement, ballot, change)
    if (change.type === 'members') {
      for (const id of change.leave) this.#forget(id)
      this.#joining = this.#joining.filter((each) => !change.join.some((it) => isSame(it, each)))
    }
    if (change.type !== 'commit') {
      journal.write({ type: 'roster', roster: after, reason: change.reason })
    }
    const lost = ({ id }: Entry) => this.#absentees.lossOf(id)
    const installed = await installAll(this.#agreement, before, after, change, lost)
    this.#absentees.carried()
    for (const { member, failure } of installed) {
      if (failure === null) this.#liveness.heard(member.peer)
      else if (member.peer === network.self) {
        this.#unfit = member.stage !== null && failure instanceof ProtocolError && failure.definite
        throw failure
      } else
        this.#absentees.miss(
          member.peer,
          `it did not carry out epoch ${after.epoch}: ${failure.message}`,
        )
    }
    for (const { member, reason } of deviating(installed)) this.lose(member.peer, reason)
  }

  #forget(id: number): void {
    this.#absentees.forget(id)
    this.#filling.forget(id)
    this.speeds.forget(id)
    this.#learners.forget(id)
    this.#saves.forget(id)
    this.#leaving.get(id)?.gone.resolve()
    this.#leaving.delete(id)
  }

  /** Has members take the stages that they are matched with. */
  async #fill(matches: readonly Match[]): Promise<void> {
    const assign = await this.#filling.fill(matches)
    if (assign.length === 0) return
    await this.#changeMembers({ assign, restart: false, reason: 'stages were filled' })
  }

  async #goBack(step: number): Promise<void> {
    await this.#agree({ type: 'rollback', step, reason: `back to the checkpoint of step ${step}` })
    this.#stale = false
    // Whoever was learning a stage has nothing to learn any more, and may take one.
    for (const { id } of this.roster.members) this.#learners.forget(id)
  }

  /**
   * Takes out of the roster whoever wants to leave and has its stage in other hands, or has no time to wait for any. True
   * if somebody went. @throws HandedOver if it was this peer
   */
  async #letGo(): Promise<boolean> {
    const free = [...this.#leaving].flatMap(([id, { patient }]) => {
      const stage = memberById(this.roster, id)?.stage ?? null
      const needed = stage !== null && this.#staying(holdersOf(this.roster, stage)).length === 0
      const waits = patient || (stage !== null && isLearnt(this.#situation, stage))
      return needed && waits ? [] : [id]
    })
    const others = free.filter((id) => id !== this.ownId)
    if (others.length > 0) {
      await this.#changeMembers({ leave: others, restart: false, reason: 'members leave' })
      return true
    }
    if (!free.includes(this.ownId)) return false
    await this.#handOver()
    throw new HandedOver('this peer has left, and another coordinates')
  }

  get #situation(): Situation {
    return {
      roster: this.roster,
      bodyStages: this.#run.stages,
      spares: this.#run.spares,
      wishes: this.#wishes,
      learning: this.#learners.stages,
      leaving: new Set(this.#leaving.keys()),
      speedOf: (id) => this.speeds.of(id),
    }
  }

  #canBeLearnt(stage: number): boolean {
    return !isFresh(this.roster) && holdersOf(this.roster, stage).length > 0
  }

  learnt(from: PeerId, facts: LearntQuestion): void {
    this.#learners.learnt(from, facts)
  }

  saved(from: PeerId, facts: SavedQuestion): void {
    this.#saves.saved(from, facts)
  }

  #staying(members: readonly Entry[]): Entry[] {
    return members.filter(({ id }) => !this.#leaving.has(id))
  }

  /** The last change of a coordinator that leaves: it names the next one, which goes on from there. */
  async #handOver(): Promise<void> {
    const before = this.roster
    const successor = this.#staying(before.members)[0]
    if (successor === undefined) return
    const change: Change = {
      type: 'members',
      coordinator: successor.id,
      ballot: { round: before.ballot.round + 1, id: successor.id },
      join: [],
      leave: [this.ownId],
      assign: [],
      restart: true,
      reason: 'the coordinator leaves',
    }
    const after = await choose(this.#agreement, before.ballot, change)
    await installAll(this.#agreement, before, after, change)
  }

  async #wait(empty: readonly number[]): Promise<void> {
    // Nobody who comes could bring back what no strategy can.
    await this.#filling.check(empty)
    const reason = 'for a spare or a joiner to take them'
    this.#agreement.journal.write({ type: 'waiting', stages: [...empty], reason })
    const members = this.#staying(this.roster.members).length
    // Where no step was made there is nothing to go on from; and one that insists on another stage may yet be replaced.
    if (this.roster.committed === 0 || members > this.#run.stages) {
      this.#resharding.reset()
      return this.#changed.promise
    }
    await this.#resharding.wait(members, this.#changed.promise)
  }
}

/** The same process, not only the same name. */
function isSame(a: Newcomer, b: Newcomer): boolean {
  return a.peer === b.peer && a.session === b.session
}

/** It may not have heard, and may be alive. */
function isUnsure(told: PromiseSettledResult<unknown>): boolean {
  return told.status === 'rejected' && isSuspicious(told.reason)
}

/** A failure that may mean that the peer is gone. */
function isSuspicious(error: ProtocolError): boolean {
  return !error.definite || error.code === 'UNREACHABLE'
}
