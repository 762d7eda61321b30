/** What a member has of the model: the stage that it holds, learns, or builds; and what the roster makes of that. */
import type { Clock } from '../../protocols/clock.ts'
import type { CopyName } from '../../protocols/copies.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import {
  type HoldAnswer,
  type HoldQuestion,
  type LearntQuestion,
  learnt,
  type ReduceQuestion,
  report,
} from '../../protocols/step.ts'
import { bytesOf, sha256, type WeightsQuestion } from '../../protocols/weights.ts'
import type { AnyStage } from '../../stages/stage.ts'
import type { Journal } from '../base/journal.ts'
import { DIGEST_STEPS, DONORS_MAX, TIMEOUTS } from '../base/limits.ts'
import { CheckpointWriter } from '../checkpoint/checkpoint-writer.ts'
import type { Store } from '../checkpoint/store.ts'
import { Copying } from '../copies/copying.ts'
import { understudiesOf } from '../copies/understudies.ts'
import { coordinatorOf, holdersOf, learnersOf, memberById } from '../membership/roster.ts'
import type { BatchSource } from '../run/batch-source.ts'
import type { Run } from '../run/run.ts'
import type { ActiveStage, WeightsCopy } from './active-stage.ts'
import { type BuildOptions, build, buildReplicaSync, buildUnderstudy } from './build.ts'
import { GuestCopy } from './guest-copy.ts'
import type { Trouble } from './pipeline.ts'
import type { ReplicaSync } from './replica-sync.ts'
import type { Resume } from './resume.ts'
import { Understudy } from './understudy.ts'

export interface StageSlotOptions {
  readonly run: Run
  readonly runId: string
  readonly network: Network
  readonly clock: Clock
  readonly journal: Journal
  readonly signal: AbortSignal
  readonly checkpoints?: Store | null
  createStage(stage: number, isSecond?: boolean): Promise<AnyStage>
  loadData(donors: () => readonly PeerId[]): Promise<BatchSource>
  readonly resume?: Resume | undefined
  /** As this member knows it; null while it is in none. */
  roster(): Roster | null
  own(): Member | undefined
  /** A step was applied. */
  committed(step: { step: number; loss: number; busySeconds: number; stage: number }): void
}

export class StageSlot {
  readonly #options: StageSlotOptions
  readonly #saving: CheckpointWriter
  readonly #copying: Copying
  #held: ActiveStage | null = null
  /** A stage whose state it fetches while others go on. */
  #learner: ReplicaSync | null = null
  /** Of the stage after the one that is held. */
  readonly #understudy: Understudy
  /** Whose second state the held one was made of; none if it was made otherwise. */
  #heldFrom: readonly PeerId[] = []
  /** The understudy that fetches the held state, which is frozen for it, by id. */
  #student: number | null = null
  /** A stage is being built or fetched. */
  #building: AbortController | null = null
  readonly #guestCopy: GuestCopy<WeightsCopy>

  constructor(options: StageSlotOptions) {
    this.#options = options
    this.#saving = new CheckpointWriter(options)
    this.#copying = new Copying(options)
    this.#understudy = new Understudy({
      ...options,
      build: (stage, signal) => buildUnderstudy(stage, this.#buildOptions(signal)),
    })
    this.#guestCopy = new GuestCopy(options)
  }

  get held(): ActiveStage | null {
    return this.#held
  }

  /** @throws ProtocolError REFUSED if this peer holds no stage */
  get holding(): ActiveStage {
    if (this.#held !== null) return this.#held
    throw new ProtocolError('REFUSED', 'this peer holds no stage')
  }

  /** What of the second stage could be had here. */
  get understudied(): CopyName[] {
    return this.#understudy.copies
  }

  /** Whoever needs the total of a step: the stage that is held, or learnt, or the one beside it. */
  reducing({ holders }: ReduceQuestion): Pick<ActiveStage, 'reduce'> {
    if (this.#learner !== null) return this.#learner
    const own = this.#options.own()?.id
    return holders.some(({ id }) => id === own) ? this.holding : this.#understudy
  }

  /** The stage, if it is as the asker believes: weights of another step must not be averaged. */
  donor(step: number, stage: number, committed: number): Pick<ActiveStage, 'donate'> {
    if (this.#understudy.has(stage, step)) return this.#understudy
    const held = this.holding
    if (stage === held.index && (step === committed || held.hasFrozen(step))) return held
    throw new ProtocolError(
      'STALE',
      `asked for stage ${stage} after step ${step}; this peer holds stage ${held.index} after step ${committed}`,
    )
  }

  /** Keeps a copy of the weights after a step for a peer that is no member; to be called between two changes. */
  keepCopy(guest: PeerId, stage: number, step: number, committed: number): Promise<WeightsCopy> {
    const { holding } = this
    if (holding.index === stage) {
      return this.#guestCopy.ask(guest, step, committed, () => holding.copy())
    }
    throw new ProtocolError('STALE', `this peer holds stage ${holding.index}, not ${stage}`)
  }

  /** A chunk of the copy that is kept for a peer that is no member. */
  async chunkOfCopy(guest: PeerId, { step, stage, part, offset, length }: WeightsQuestion) {
    const { holding } = this
    if (holding.index !== stage || part !== 'weights') {
      throw new ProtocolError('NOT_MEMBER', `${guest} is not in the roster`)
    }
    const copy = await this.#guestCopy.of(guest, step)
    return holding.chunk(copy.weights, copy, offset, length)
  }

  /** Gives up what is being built. */
  stopBuilding(reason: string): void {
    this.#building?.abort(new ProtocolError('STALE', reason))
  }

  /** Takes a stage that nobody holds, with what a strategy makes of its donors' state. */
  async hold(question: HoldQuestion): Promise<HoldAnswer> {
    const { clock, journal } = this.#options
    this.#expectNone()
    await this.giveUp()
    const building = this.#begin()
    const begun = clock.now()
    try {
      const options = this.#buildOptions(building.signal)
      const { holding, gathered } = await build(question, options)
      this.#building = null
      this.#held = holding
      const { stage, strategy, donors } = question
      if (strategy === 'redundant') this.#heldFrom = donors.map(({ peer }) => peer)
      const { bytes, learningRateScale, norms, ofStep } = gathered
      const seconds = (clock.now() - begun) / 1000
      journal.write({ type: 'holding', stage, strategy, bytes, seconds })
      return { bytes, learningRateScale, norms, ofStep, seconds }
    } catch (error) {
      const message = `could not take stage ${question.stage}: ${(error as Error).message}`
      if (!building.signal.aborted) journal.write({ type: 'notice', message })
      throw error
    }
  }

  /** Builds a stage that others hold, to fetch its state later. */
  async learn(stage: number): Promise<void> {
    this.#expectNone()
    await this.giveUp()
    const building = this.#begin()
    const learner = await buildReplicaSync(stage, this.#buildOptions(building.signal))
    this.#building = null
    this.#learner = learner
  }

  /**
   * Does with the stage what a new roster says: applies a step, gives the stage up, empties the sums, begins to learn.
   * @returns SHA-256 of the weights, after some steps
   */
  async follow(before: Roster | null, roster: Roster, own: Member): Promise<string | null> {
    const digest = await this.#follow(before, roster, own)
    this.#understudy.follow(before, roster, own)
    return digest
  }

  /**
   * Freezes the state of the held stage for its understudy, if that one does not have it. Nothing that changes the state
   * may be carried out meanwhile.
   */
  async study(from: PeerId, stage: number, has: boolean): Promise<{ step: number; same: boolean }> {
    const roster = this.#options.roster()!
    const held = this.holding
    const student = understudiesOf(this.#options.run, roster, stage).find(
      ({ peer }) => peer === from,
    )
    if (held.index !== stage || student === undefined) {
      throw new ProtocolError('REFUSED', `${from} is no understudy of stage ${held.index}`)
    }
    const { committed: step } = roster
    if (has) return { step, same: this.#heldFrom.includes(from) }
    if (learnersOf(roster, stage).length === 0) held.thaw()
    this.#student = student.id
    await held.freeze(step)
    return { step, same: false }
  }

  /** The understudy has what was frozen for it. */
  studied(from: PeerId): void {
    const roster = this.#options.roster()!
    if (this.#student === null || memberById(roster, this.#student)?.peer !== from) return
    this.#student = null
    this.#thaw(roster)
  }

  #thaw(roster: Roster): void {
    const held = this.#held
    if (held !== null && this.#student === null && learnersOf(roster, held.index).length === 0) {
      held.thaw()
    }
  }

  async #follow(before: Roster | null, roster: Roster, own: Member): Promise<string | null> {
    // What is built for a stage that the roster has yet to give stays.
    const expectant = this.#learner !== null && !this.#learner.assigned
    if (own.stage === null && !expectant) await this.giveUp()
    if (own.stage !== null && this.#learner?.index === own.stage) {
      await this.#followLearning(this.#learner, before, roster, own)
      return null
    }
    const held = this.#held
    if (own.stage !== (held?.index ?? null)) {
      throw new ProtocolError(
        'REFUSED',
        `the roster gives this peer stage ${own.stage}, it holds ${held?.index ?? 'none'}`,
      )
    }
    if (held === null) return null
    const missed = roster.committed - (before?.committed ?? roster.committed)
    // Of a step that was given up; whoever holds the stage of the one that the swarm went back to has built it since.
    if (missed < 0 || missed > 1 || (missed === 1 && !held.canCommit(roster.committed))) {
      await this.giveUp()
      throw new ProtocolError('REFUSED', `step ${roster.committed} is not prepared here`)
    }
    const digest = missed === 1 ? await this.#commit(held, roster, own) : null
    const { runId } = this.#options
    await held.open({ run: runId, epoch: roster.fenceEpoch, step: roster.committed + 1 })
    const students = understudiesOf(this.#options.run, roster, held.index)
    if (!students.some(({ id }) => id === this.#student)) this.#student = null
    if (isNew(before, learnersOf(roster, held.index))) await held.freeze(roster.committed)
    else this.#thaw(roster)
    return digest
  }

  /** Tells the coordinator that a microbatch does not get on. If it does not hear of it, the step's deadline does. */
  async report({ header, to, error }: Trouble): Promise<void> {
    const { network, runId, roster, signal } = this.#options
    const known = roster()
    if (known === null) return
    const { epoch, step, index, attempt } = header
    const { code, message } = error
    const reason = message.slice(0, 2000)
    const question = { run: runId, epoch, step, index, attempt, to, code, reason }
    const options = { timeoutMs: TIMEOUTS.reportMs, signal }
    await ask(network, coordinatorOf(known).peer, report, question, options).catch(() => {})
  }

  /** Frees the stage, whatever has become of it. */
  async giveUp(): Promise<void> {
    const [held, learner] = [this.#held, this.#learner]
    this.#held = null
    this.#learner = null
    this.#heldFrom = []
    this.#student = null
    this.#saving.reset()
    this.#copying.reset()
    this.#guestCopy.drop('the stage was given up')
    await this.#understudy.close()
    await held?.close()
    await learner?.close()
  }

  #expectNone(): void {
    if (this.#held === null) return
    throw new ProtocolError('REFUSED', `this peer holds stage ${this.#held.index} already`)
  }

  /** Building takes long, and who asked for it may have given up since: then another roster or stage comes first. */
  #begin(): AbortController {
    this.stopBuilding('this peer was given another stage')
    this.#building = new AbortController()
    return this.#building
  }

  #buildOptions(signal: AbortSignal): BuildOptions {
    const { roster, own } = this.#options
    return {
      ...this.#options,
      ownId: own()!.id,
      peerOf: (id) => {
        const known = roster()
        return known === null ? undefined : memberById(known, id)?.peer
      },
      origin: () => roster()?.origin ?? null,
      donors: () => roster()?.members.map(({ peer }) => peer) ?? [],
      onTrouble: (trouble) => void this.report(trouble),
      signal,
    }
  }

  async #commit(held: ActiveStage, roster: Roster, own: Member): Promise<string | null> {
    const { committed: step } = roster
    const stage = held.index
    const loss = roster.loss!
    this.#copying.beforeUpdate()
    this.#saving.beforeUpdate()
    const { update, busySeconds } = await held.commit(step, roster)
    this.#copying.committed(held, roster, own)
    this.#guestCopy.committed(step, () => held.copy())
    await this.#saving.committed(held, roster, own)
    this.#options.committed({ step, loss, busySeconds, stage })
    this.#options.journal.write({ type: 'committed', step, stage, loss, ...update })
    const compared = step % DIGEST_STEPS === 0 && holdersOf(roster, stage).length > 1
    return compared ? sha256(bytesOf(held.stage.weights)) : null
  }

  /** Keeps up with the steps, and holds the stage once the roster says that it is ready. */
  async #followLearning(
    learner: ReplicaSync,
    before: Roster | null,
    roster: Roster,
    own: Member,
  ): Promise<void> {
    const { runId } = this.#options
    const fence = { run: runId, epoch: roster.fenceEpoch, step: roster.committed }
    if (!learner.assigned) {
      learner.assigned = true
      void this.#fetchState(learner, roster)
    } else if (before !== null && roster.committed > before.committed) {
      if (roster.committed > before.committed + 1 || !learner.canCommit(fence, roster.version)) {
        await this.giveUp()
        throw new ProtocolError('REFUSED', `step ${roster.committed} did not come here`)
      }
      learner.commit(roster)
    }
    learner.open({ ...fence, step: fence.step + 1 })
    if (!own.ready) return
    this.#learner = null
    this.#held = await learner.finish()
    await this.#held.open({ ...fence, step: fence.step + 1 })
  }

  /** Fetches the state of a stage from those that hold it, and tells the coordinator when it has caught up. */
  async #fetchState(learner: ReplicaSync, known: Roster): Promise<void> {
    const { network, clock, runId, journal, signal, roster } = this.#options
    const begun = clock.now()
    const stage = learner.index
    const donors = holdersOf(known, stage)
      .slice(0, DONORS_MAX)
      .map(({ peer }) => peer)
    const none = { run: runId, stage, bytes: 0, learningRateScale: 1 }
    const secondsSince = () => (clock.now() - begun) / 1000
    let told: LearntQuestion
    try {
      const { bytes, learningRateScale } = await learner.learn(known.committed, donors, signal)
      // It was given up meanwhile: the swarm may have gone back to before that state.
      if (this.#learner !== learner) return
      const seconds = secondsSince()
      told = { ...none, failure: null, bytes, learningRateScale, seconds }
      journal.write({ type: 'holding', stage, strategy: 'replica', bytes, seconds })
    } catch (error) {
      if (signal.aborted) return
      const failure = (error as Error).message.slice(0, 2000)
      told = { ...none, failure, seconds: secondsSince() }
    }
    const now = roster()
    if (this.#learner !== learner || now === null) return
    const options = { timeoutMs: TIMEOUTS.reportMs, signal }
    await ask(network, coordinatorOf(now).peer, learnt, told, options).catch(() => {})
  }
}

/** One of them did not learn in the roster before. */
function isNew(before: Roster | null, learners: readonly Member[]): boolean {
  return learners.some(({ id }) => {
    const known = before === null ? undefined : memberById(before, id)
    return known === undefined || known.stage === null
  })
}
