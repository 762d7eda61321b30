/** Does to a member's stage what each new roster says: applies a step, empties the sums, synchronizes or frees it. */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import { bytesOf } from '../../protocols/weights.ts'
import type { Journal } from '../base/journal.ts'
import { DIGEST_STEPS, DONORS_MAX } from '../base/limits.ts'
import { sha256InSlices } from '../copies/slices.ts'
import { understudiesOf } from '../copies/understudies.ts'
import { holdersOf, learnersOf, memberById } from '../membership/roster.ts'
import type { Run } from '../run/run.ts'
import type { ActiveStage } from './active-stage.ts'
import type { ReplicaSync } from './replica-sync.ts'
import type { Learning, StageSlot } from './stage-slot.ts'
import { type TellContext, tellLearnt } from './tell-coordinator.ts'

/** A step that was applied to the active stage. */
export interface AppliedStep {
  readonly step: number
  readonly stage: number
  readonly loss: number
  /** Time that this member spent computing on the step. */
  readonly busySeconds: number
}

export interface StageFollowerOptions extends TellContext {
  readonly run: Run
  readonly clock: Clock
  readonly journal: Journal
  readonly slot: StageSlot
  /** Called after each step that was applied. */
  committed(step: AppliedStep): void
}

export class StageFollower {
  readonly #options: StageFollowerOptions
  readonly #slot: StageSlot

  constructor(options: StageFollowerOptions) {
    this.#options = options
    this.#slot = options.slot
  }

  /**
   * Does what the roster says. Calls must not overlap.
   * @param before the roster that this member followed before; null for its first
   * @returns SHA-256 of the weights after every {@link DIGEST_STEPS}th step of a stage with replicas, otherwise null
   * @throws ProtocolError REFUSED if the roster expects what this peer does not have
   */
  async follow(before: Roster | null, roster: Roster, own: Member): Promise<string | null> {
    const digest = await this.#follow(before, roster, own)
    this.#slot.understudy.follow(before, roster, own)
    return digest
  }

  async #follow(before: Roster | null, roster: Roster, own: Member): Promise<string | null> {
    const { active, learning } = this.#slot
    if (own.stage === null) {
      // A stage or a replica that was just built waits for the roster that names it.
      const isWaiting = learning === null ? this.#slot.isRebuilt(roster) : !learning.isAssigned
      if (!isWaiting) await this.#slot.giveUp()
      return null
    }
    if (learning?.sync.index === own.stage) {
      await this.#followLearning(learning, before, roster, own)
      return null
    }
    if (active?.index === own.stage) {
      this.#slot.named()
      return this.#followActive(active, before, roster, own)
    }
    throw new ProtocolError(
      'REFUSED',
      `the roster gives this peer stage ${own.stage}, it holds ${active?.index ?? 'none'}`,
    )
  }

  async #followActive(active: ActiveStage, before: Roster | null, roster: Roster, own: Member) {
    const { committed } = roster
    const missed = committed - (before?.committed ?? committed)
    // After a rollback this state belongs to the abandoned branch. A step that is not here cannot be applied.
    if (missed < 0 || missed > 1 || (missed === 1 && !active.canCommit(committed))) {
      await this.#slot.giveUp()
      throw new ProtocolError('REFUSED', `step ${committed} is not prepared here`)
    }
    const digest = missed === 1 ? await this.#commit(active, roster, own) : null
    if (missed === 0) this.#slot.upkeep.membersChanged(active, roster, own)
    await active.open(this.#nextFence(roster))
    await this.#freeze(active, before, roster)
    return digest
  }

  async #commit(active: ActiveStage, roster: Roster, own: Member): Promise<string | null> {
    const { committed: step } = roster
    const stage = active.index
    const loss = roster.loss!
    this.#slot.upkeep.beforeUpdate()
    const { update, busySeconds } = await active.commit(step, roster)
    await this.#slot.upkeep.committed(active, roster, own)
    this.#options.committed({ step, loss, busySeconds, stage })
    this.#options.journal.write({ type: 'committed', step, stage, loss, ...update })
    const compared = step % DIGEST_STEPS === 0 && holdersOf(roster, stage).length > 1
    if (!compared) return null
    return sha256InSlices(bytesOf(active.stage.weights), () => this.#options.clock.sleep(0))
  }

  /** Freezes the present state for each new replica of the stage, and frees what no member fetches any more. */
  async #freeze(active: ActiveStage, before: Roster | null, roster: Roster): Promise<void> {
    const learners = learnersOf(roster, active.index)
    const fetching = [...learners, ...understudiesOf(this.#options.run, roster, active.index)]
    active.frozen.retain(fetching.map(({ id }) => id))
    for (const { id } of learners) {
      const known = before === null ? undefined : memberById(before, id)
      const isNew = known === undefined || known.stage === null
      if (isNew) await active.freezeFor(id, roster.committed)
    }
  }

  /** Keeps up with the steps. Makes the replica active once the roster says that it is ready. */
  async #followLearning(
    learning: Learning,
    before: Roster | null,
    roster: Roster,
    own: Member,
  ): Promise<void> {
    const { sync, isAssigned } = learning
    const { committed: step, fenceEpoch: epoch, version } = roster
    if (!isAssigned) {
      this.#slot.assign(learning)
      void this.#fetchState(sync, roster)
    } else if (before !== null && step > before.committed) {
      const fence = { run: this.#options.runId, epoch, step }
      if (step > before.committed + 1 || !sync.canCommit(fence, version)) {
        await this.#slot.giveUp()
        throw new ProtocolError('REFUSED', `step ${step} did not come here`)
      }
      sync.commit(roster)
    }
    sync.open(this.#nextFence(roster))
    if (!own.ready) return
    const active = await this.#slot.activate(learning)
    await active.open(this.#nextFence(roster))
  }

  /** Fetches the state of a new replica, and tells the coordinator when the replica is synchronized. */
  async #fetchState(sync: ReplicaSync, known: Roster): Promise<void> {
    const { clock, journal, signal } = this.#options
    const begun = clock.now()
    const stage = sync.index
    const donors = holdersOf(known, stage)
      .slice(0, DONORS_MAX)
      .map(({ peer }) => peer)
    const secondsSince = () => (clock.now() - begun) / 1000
    // The replica may be given up meanwhile, and the run may have rolled back to before its state.
    const isWanted = () => this.#slot.learning?.sync === sync
    try {
      const { bytes, learningRateScale } = await sync.fetch(known.committed, donors, signal)
      if (!isWanted()) return
      const seconds = secondsSince()
      journal.write({ type: 'holding', stage, strategy: 'replica', bytes, seconds })
      await tellLearnt(this.#options, { stage, failure: null, bytes, learningRateScale, seconds })
    } catch (error) {
      if (signal.aborted || !isWanted()) return
      const { message: failure } = error as Error
      const facts = { stage, failure, bytes: 0, learningRateScale: 1, seconds: secondsSince() }
      await tellLearnt(this.#options, facts)
    }
  }

  /** Names the step after the last committed one. */
  #nextFence({ fenceEpoch: epoch, committed }: Roster) {
    return { run: this.#options.runId, epoch, step: committed + 1 }
  }
}
