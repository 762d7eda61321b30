/** The place for the one stage that a member holds: empty, or with a stage that is being built, learning, or active. */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import type { HoldAnswer, HoldQuestion, ReduceQuestion } from '../../protocols/step.ts'
import type { AnyStage } from '../../stages/stage.ts'
import type { Journal } from '../base/journal.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { DiskUpkeep } from '../checkpoint/disk-upkeep.ts'
import type { Store } from '../checkpoint/store.ts'
import { understudiesOf } from '../copies/understudies.ts'
import { holdersOf, isFresh, isRestored, memberById, memberOf } from '../membership/roster.ts'
import type { BatchSource } from '../run/batch-source.ts'
import type { Run } from '../run/run.ts'
import type { ActiveStage } from './active-stage.ts'
import { type BuildOptions, buildActiveStage, buildReplicaSync, buildUnderstudy } from './build.ts'
import type { ReplicaSync } from './replica-sync.ts'
import type { Resume } from './resume.ts'
import { StageUpkeep } from './stage-upkeep.ts'
import { tellTrouble } from './tell-coordinator.ts'
import { Understudy } from './understudy.ts'

export interface StageSlotOptions {
  readonly run: Run
  readonly runId: string
  readonly network: Network
  readonly clock: Clock
  readonly journal: Journal
  readonly signal: AbortSignal
  readonly checkpoints?: Store | null
  /** Writes the stage's state to this peer's disk. */
  readonly diskUpkeep?: Pick<DiskUpkeep, 'beforeUpdate'>
  createStage(stage: number, isSecond?: boolean): Promise<AnyStage>
  loadData(donors: () => readonly PeerId[]): Promise<BatchSource>
  readonly resume?: Resume | undefined
  /** The roster as this member knows it; null while it is in none. */
  roster(): Roster | null
  /** This member's entry in the roster. */
  own(): Member | undefined
}

interface Building {
  readonly kind: 'building'
  readonly abort: AbortController
  /** The stage that nobody holds; null while a further replica is built. */
  readonly rebuild: Rebuild | null
}

/** The rebuild of a stage that nobody holds. The roster names this member only some time after it. */
interface Rebuild {
  readonly question: HoldQuestion
  /** True if the run had rolled back to the step of the question. */
  readonly wasRestored: boolean
  readonly answer: Promise<HoldAnswer>
}

/** The stage is a new replica, which fetches its state while the holders keep training. */
export interface Learning {
  readonly kind: 'learning'
  readonly sync: ReplicaSync
  /** True once the roster names this member. From then on it gets the total of each step. */
  readonly isAssigned: boolean
}

interface Active {
  readonly kind: 'active'
  readonly active: ActiveStage
  /** How the stage was rebuilt, until the roster names this member; then null. */
  readonly rebuild: Rebuild | null
  /** The understudies that the stage's state was copied from; empty if it was made otherwise. */
  readonly restoredFrom: readonly PeerId[]
}

type SlotState = { readonly kind: 'empty' } | Building | Learning | Active

const EMPTY: SlotState = { kind: 'empty' }

export class StageSlot {
  readonly upkeep: StageUpkeep
  /** Keeps the state of the next stage, beside the active one. */
  readonly understudy: Understudy
  readonly #options: StageSlotOptions
  #state: SlotState = EMPTY

  constructor(options: StageSlotOptions) {
    this.#options = options
    this.upkeep = new StageUpkeep(options)
    this.understudy = new Understudy({
      ...options,
      build: (stage, signal) => buildUnderstudy(stage, this.#buildOptions(signal)),
    })
  }

  /** Null if this peer holds no stage. */
  get active(): ActiveStage | null {
    return this.#state.kind === 'active' ? this.#state.active : null
  }

  /** @throws ProtocolError REFUSED if this peer holds no stage */
  expectActive(): ActiveStage {
    if (this.#state.kind === 'active') return this.#state.active
    throw new ProtocolError('REFUSED', 'this peer holds no stage')
  }

  /** Null if no replica is learning here. */
  get learning(): Learning | null {
    return this.#state.kind === 'learning' ? this.#state : null
  }

  /** The part that needs the total of a step here: a new replica, the active stage, or the understudy of another stage. */
  reducing({ stage }: ReduceQuestion): Pick<ActiveStage, 'reduce'> {
    if (this.#state.kind === 'learning') return this.#state.sync
    return this.active?.index === stage ? this.active : this.understudy
  }

  /** The part that has the state of a stage after `step`. @throws ProtocolError STALE if this peer does not have it */
  donor(step: number, stage: number, committed: number): Pick<ActiveStage, 'donate'> {
    if (this.understudy.has(stage, step)) return this.understudy
    const active = this.expectActive()
    const has = step === committed || active.frozen.after(step) !== undefined
    if (stage === active.index && has) return active
    throw new ProtocolError(
      'STALE',
      `asked for stage ${stage} after step ${step}; this peer holds stage ${active.index} after step ${committed}`,
    )
  }

  /**
   * Takes a stage that nobody holds, with the state that a recovery strategy makes. A question that is asked again, by
   * another coordinator or after a deadline, gets the answer of the same rebuild.
   * @throws ProtocolError
   */
  hold(question: HoldQuestion): Promise<HoldAnswer> {
    const state = this.#state
    const known = state.kind === 'building' || state.kind === 'active' ? state.rebuild : null
    const roster = this.#options.roster()
    const isKnown = known !== null && isSame(known.question, question) && isCurrent(known, roster)
    if (isKnown) return known.answer
    const { promise: answer, resolve, reject } = Promise.withResolvers<HoldAnswer>()
    answer.catch(() => {})
    const wasRestored = roster !== null && isRestored(roster)
    this.#hold({ question, wasRestored, answer }).then(resolve, reject)
    return answer
  }

  /** The stage that is rebuilt or was rebuilt here, until the roster names this member; null if there is none. */
  get rebuilding(): number | null {
    const state = this.#state
    const isKnown = state.kind === 'building' || state.kind === 'active'
    return isKnown ? (state.rebuild?.question.stage ?? null) : null
  }

  /** True if a stage was rebuilt here that this roster gives to nobody yet. */
  isRebuilt(roster: Roster): boolean {
    const { rebuild = null } = this.#state.kind === 'active' ? this.#state : {}
    return rebuild !== null && isCurrent(rebuild, roster)
  }

  /** The roster names this member as the holder of its active stage. */
  named(): void {
    if (this.#state.kind === 'active') this.#state = { ...this.#state, rebuild: null }
  }

  async #hold(rebuild: Rebuild): Promise<HoldAnswer> {
    const { clock, journal } = this.#options
    const { stage, strategy, donors } = rebuild.question
    const building = await this.#beginBuilding(rebuild)
    const begun = clock.now()
    try {
      const options = this.#buildOptions(building.abort.signal)
      const { active, restored } = await buildActiveStage(rebuild.question, options)
      const restoredFrom = strategy === 'redundant' ? donors.map(({ peer }) => peer) : []
      await this.#finishBuilding(building, { kind: 'active', active, rebuild, restoredFrom })
      const { bytes, learningRateScale, norms, ofStep } = restored
      const seconds = (clock.now() - begun) / 1000
      journal.write({ type: 'holding', stage, strategy, bytes, seconds })
      return { bytes, learningRateScale, norms, ofStep, seconds }
    } catch (error) {
      this.#failBuilding(building)
      const message = `could not take stage ${stage}: ${(error as Error).message}`
      if (!building.abort.signal.aborted) journal.write({ type: 'notice', message })
      throw error
    }
  }

  /** Builds a replica of a stage that others hold. Its state is fetched once the roster names this member. */
  async learn(stage: number): Promise<void> {
    const building = await this.#beginBuilding(null)
    try {
      const sync = await buildReplicaSync(stage, this.#buildOptions(building.abort.signal))
      await this.#finishBuilding(building, { kind: 'learning', sync, isAssigned: false })
    } catch (error) {
      this.#failBuilding(building)
      throw error
    }
  }

  /** Gives up a replica that is being built. A rebuild of a stage that nobody holds goes on. */
  stopBuildingReplica(reason: string): void {
    if (this.#state.kind === 'building' && this.#state.rebuild === null) this.stopBuilding(reason)
  }

  /** Gives up what is being built. */
  stopBuilding(reason: string): void {
    if (this.#state.kind !== 'building') return
    this.#state.abort.abort(new ProtocolError('STALE', reason))
    this.#state = EMPTY
  }

  /**
   * Freezes the state of the active stage for its understudy. Must be called between two updates, and none may begin
   * before it resolves.
   * @param has the understudy has a state already, and asks whether this stage's state came from it
   */
  async study(from: PeerId, stage: number, has: boolean): Promise<{ step: number; same: boolean }> {
    const { run, roster } = this.#options
    const active = this.expectActive()
    const student = understudiesOf(run, roster()!, stage).find(({ peer }) => peer === from)
    if (active.index !== stage || student === undefined) {
      throw new ProtocolError('REFUSED', `${from} is no understudy of stage ${active.index}`)
    }
    const { committed: step } = roster()!
    if (has) return { step, same: this.#wasRestoredFrom(from) }
    await active.freezeFor(student.id, step)
    return { step, same: false }
  }

  /** The understudy has the state that was frozen for it. */
  studied(from: PeerId): void {
    const roster = this.#options.roster()
    const member = roster === null ? undefined : memberOf(roster, from)
    if (member !== undefined) this.active?.frozen.release(member.id)
  }

  /** Frees the stage, whether it is active or a new replica. A stage that is being built is not affected. */
  async giveUp(): Promise<void> {
    const state = this.#state
    if (state.kind !== 'building') this.#state = EMPTY
    await this.#free(state)
  }

  /** The roster names this member as a replica of the stage that is learning here. */
  assign({ sync }: Learning): void {
    this.#state = { kind: 'learning', sync, isAssigned: true }
  }

  /** Makes the learning replica active. @throws ProtocolError REFUSED without its state, STALE if it was given up */
  async activate({ sync }: Learning): Promise<ActiveStage> {
    const active = await sync.finish()
    if (this.learning?.sync !== sync) {
      throw new ProtocolError('STALE', `the replica of stage ${sync.index} was given up`)
    }
    this.#state = { kind: 'active', active, rebuild: null, restoredFrom: [] }
    return active
  }

  /** Frees a new replica, and begins to build. @throws ProtocolError REFUSED if a stage is active */
  async #beginBuilding(rebuild: Rebuild | null): Promise<Building> {
    const state = this.#state
    if (state.kind === 'active' && state.rebuild === null) {
      throw new ProtocolError('REFUSED', `this peer holds stage ${state.active.index} already`)
    }
    // Building takes long. Another question may take the place of the one before, whose asker has given up.
    this.stopBuilding('this peer was given another stage')
    const building: Building = { kind: 'building', abort: new AbortController(), rebuild }
    this.#state = building
    await this.#free(state)
    return building
  }

  async #finishBuilding(building: Building, built: Learning | Active): Promise<void> {
    if (this.#state === building) {
      this.#state = built
      return
    }
    await close(built)
    throw building.abort.signal.reason
  }

  #failBuilding(building: Building): void {
    if (this.#state === building) this.#state = EMPTY
  }

  async #free(state: SlotState): Promise<void> {
    this.upkeep.reset()
    await this.understudy.close()
    if (state.kind !== 'active' && state.kind !== 'learning') return
    const over = new AbortController()
    const late = this.#options.clock.sleep(TIMEOUTS.closeMs, over.signal).then(
      () => true,
      () => false,
    )
    // Compute that hangs never ends, and this peer may hold another stage meanwhile.
    const isLate = await Promise.race([close(state).then(() => false), late])
    over.abort()
    if (!isLate) return
    const message = `the compute of the stage that this peer gave up has not ended after ${TIMEOUTS.closeMs / 1000} s: its memory is free when it ends, or when this process does`
    this.#options.journal.write({ type: 'notice', message })
  }

  #wasRestoredFrom(peer: PeerId): boolean {
    return this.#state.kind === 'active' && this.#state.restoredFrom.includes(peer)
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
      onTrouble: (trouble) => void tellTrouble(this.#options, trouble),
      signal,
    }
  }
}

/** True if the run has neither made a step nor gone back since the rebuild began, and nobody else holds the stage. */
function isCurrent({ question: { stage, step }, wasRestored }: Rebuild, roster: Roster | null) {
  if (roster === null) return true
  const isThen = roster.committed === step && isRestored(roster) === wasRestored
  return isThen && (isFresh(roster) || holdersOf(roster, stage).length === 0)
}

/** True if both ask for the same state of the same stage. The donors may differ. */
function isSame(a: HoldQuestion, b: HoldQuestion): boolean {
  return a.stage === b.stage && a.step === b.step && a.strategy === b.strategy
}

async function close(state: SlotState): Promise<void> {
  if (state.kind === 'active') await state.active.close()
  if (state.kind === 'learning') await state.sync.close()
}
