/**
 * Keeps a peer's disk up to date. After every so many committed steps all holders write the state of their stages, and
 * all members the copies that they keep for others. Since all write the same steps, a step of which every stage is on a
 * disk exists also if every process ends at once.
 */
import type { Clock } from '../../protocols/clock.ts'
import { type CopyName, type Holding, KEPT } from '../../protocols/copies.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Roster } from '../../protocols/membership.ts'
import { bytesOf, type StateFacts } from '../../protocols/weights.ts'
import type { Journal } from '../base/journal.ts'
import { STRATEGIES } from '../recovery/index.ts'
import { type Branch, isOfLineage } from '../recovery/return-step.ts'
import type { Run } from '../run/run.ts'
import type { HeldStage } from '../run/stage-state.ts'
import { LazySnapshot } from './lazy-snapshot.ts'
import type { StageDisk } from './stage-disk.ts'
import type { SavedState } from './state-file.ts'

/** Number of states of its own stage that a holder has on its disk at least: a kill may interrupt the writing of a third. */
const GENERATIONS = 2

/** A copy that this peer keeps in memory for others. */
interface KeptCopy {
  readonly name: CopyName
  readonly facts: StateFacts
  readonly bytes: Uint8Array
}

export interface DiskUpkeepOptions {
  readonly run: Run
  readonly runId: string
  readonly clock: Clock
  readonly journal: Journal
  /** Null if this peer has no disk for states. */
  readonly disk: StageDisk | null
  /** The history that this peer follows. States of other branches are neither offered nor kept. */
  readonly lineage: readonly Branch[]
  /** The complete copies that this peer keeps in memory. */
  kept(): readonly KeptCopy[]
}

/** A state of the active stage that is to be written. */
interface OwnState {
  readonly state: SavedState
  readonly copied: Promise<readonly Float32Array[]>
}

export class DiskUpkeep {
  readonly #options: DiskUpkeepOptions
  /** Copies the state of the active stage while it is trained; null if no copy is being made. */
  #snapshot: LazySnapshot | null = null
  /** Resolves when the disk is not written to any more. Never rejects. */
  #written: Promise<void> = Promise.resolve()
  #isWriting = false
  /** True since a write failed, until one succeeds. */
  #isFailing = false

  constructor(options: DiskUpkeepOptions) {
    this.#options = options
    void options.disk?.scanned.then((refused) => {
      for (const reason of refused)
        this.#notice(`a state on this peer's disk is not used: ${reason}`)
    })
  }

  /** Names of the states on disk that belong to this history. */
  get copies(): CopyName[] {
    return this.#holdings.map(({ strategy, stage, step, shard }) => ({
      strategy,
      stage,
      step,
      shard,
    }))
  }

  /** A chunk of a state on disk. @throws ProtocolError STALE if it is not here, WRONG_SHAPE */
  async read(name: CopyName, offset: number, length: number) {
    const found = this.#holdings.find((holding) => isNamed(holding, name))
    if (found !== undefined) return this.#options.disk!.read(found, offset, length)
    throw new ProtocolError('STALE', `stage ${name.stage} after step ${name.step} is not kept here`)
  }

  /** Must be called before the stage's state changes. */
  beforeUpdate(): void {
    this.#snapshot?.beforeUpdate()
  }

  /**
   * The roster's step was applied: begins to write if a write is due, and does not wait. Must be called between two updates.
   * @param held the active stage; null if this peer holds none
   */
  committed(held: HeldStage | null, { committed: step, loss }: Roster): void {
    const { disk, run } = this.#options
    const { everySteps } = run.recovery.kept
    // A disk that is slower than the interval skips a step. Its earlier states stay.
    if (disk === null || everySteps === 0 || step % everySteps !== 0 || this.#isWriting) return
    const own = held === null ? null : this.#copy(held, step, loss)
    this.#isWriting = true
    const written = this.#write(disk, own, step).finally(() => {
      this.#isWriting = false
    })
    this.#written = written.catch(() => {})
  }

  /** The run rolled back to `step`. States of later steps belong to the abandoned branch, so they are removed. */
  forgetAfter(step: number): void {
    void this.#remove((holding) => holding.step <= step)
  }

  /** The run is over for this peer, or goes on without it: nothing is needed any more. Resolves when all is removed. */
  async clear(): Promise<void> {
    await this.#remove(() => false)
  }

  get #holdings(): Holding[] {
    const { disk, lineage } = this.#options
    return disk?.holdings.filter((holding) => isOfLineage(lineage, holding)) ?? []
  }

  #remove(stays: (holding: Holding) => boolean): Promise<void> {
    const { disk } = this.#options
    this.#written = this.#written
      .then(() => disk?.retain(stays))
      .catch((error: Error) => this.#notice(`an old state was not removed: ${error.message}`))
    return this.#written
  }

  #copy(held: HeldStage, step: number, loss: number | null): OwnState {
    const { clock, runId } = this.#options
    const { weights, moments } = held.stage
    const { norm, updates, learningRateScale } = held.facts
    const name = { strategy: KEPT, stage: held.index, step, shard: 0, run: runId }
    const state = { ...name, loss, norm, updates, learningRateScale }
    const snapshot = new LazySnapshot(() => clock.sleep(0))
    this.#snapshot = snapshot
    const copied = snapshot.begin([weights, moments.firstMoment, moments.secondMoment])
    return { state, copied }
  }

  /** Writes what is new, and removes what is not needed any more. A failure is told once, and costs this step only. */
  async #write(disk: StageDisk, own: OwnState | null, step: number): Promise<void> {
    const { clock, journal } = this.#options
    const begun = clock.now()
    const stage = own?.state.stage ?? null
    let bytes = 0
    try {
      if (own !== null) {
        const copies = await own.copied
        this.#snapshot = null
        bytes += await disk.write(own.state, copies.map(bytesOf))
      }
      bytes += await this.#writeKept(disk)
      this.#isFailing = false
      journal.write({ type: 'stored', stage, step, bytes, seconds: (clock.now() - begun) / 1000 })
    } catch (error) {
      this.#snapshot = null
      if (!this.#isFailing) {
        const message = `the state of step ${step} is not on this peer's disk: ${(error as Error).message}. Training goes on; make room, or choose another --data-dir.`
        this.#notice(message)
      }
      this.#isFailing = true
    }
    await this.#tidy(disk, stage, step)
  }

  /** Writes the copies that are not on disk yet. @returns bytes written */
  async #writeKept(disk: StageDisk): Promise<number> {
    const { runId, kept } = this.#options
    let bytes = 0
    for (const copy of kept()) {
      const { name, facts } = copy
      // The name comes from another peer, and becomes a part of the file's name.
      if (!STRATEGIES.has(name.strategy) || name.strategy === KEPT) continue
      if (this.#holdings.some((holding) => isNamed(holding, name))) continue
      bytes += await disk.write({ ...name, run: runId, loss: null, ...facts }, [copy.bytes])
    }
    return bytes
  }

  /** Removes states of stages that moved away, copies that are not kept any more, and those of other branches. */
  async #tidy(disk: StageDisk, stage: number | null, step: number): Promise<void> {
    const { run, lineage, kept } = this.#options
    const oldest = step - run.recovery.kept.everySteps
    const own = this.#holdings.filter((each) => each.strategy === KEPT && each.stage === stage)
    const latest = own.sort((a, b) => b.step - a.step).slice(0, GENERATIONS)
    const inMemory = kept().map(({ name }) => name)
    const isNeeded = (holding: Holding) =>
      holding.step >= oldest ||
      latest.some((each) => isNamed(each, holding)) ||
      inMemory.some((name) => isNamed(holding, name))
    try {
      await disk.retain((holding) => isOfLineage(lineage, holding) && isNeeded(holding))
    } catch (error) {
      this.#notice(`an old state was not removed: ${(error as Error).message}`)
    }
  }

  #notice(message: string): void {
    this.#options.journal.write({ type: 'notice', message })
  }
}

function isNamed(holding: CopyName, { strategy, stage, step, shard }: CopyName): boolean {
  const isSame = holding.strategy === strategy && holding.stage === stage
  return isSame && holding.step === step && holding.shard === shard
}
