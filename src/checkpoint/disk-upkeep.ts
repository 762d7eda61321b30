/**
 * Keeps a peer's disk up to date. After every so many committed steps all holders write the state of their stages, and
 * all members the copies that they keep for others. Since all write the same steps, a step of which every stage is on a
 * disk exists also if every process ends at once.
 */
import type { Clock } from '../../protocols/clock.ts'
import { type CopyName, type Holding, KEPT } from '../../protocols/copies.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Branch, Lineage } from '../../protocols/incarnation.ts'
import type { Roster } from '../../protocols/membership.ts'
import type { DiskOffer } from '../../protocols/return.ts'
import { bytesOf, type StateFacts } from '../../protocols/weights.ts'
import type { Journal } from '../base/journal.ts'
import { FIRST } from '../membership/incarnation.ts'
import { STRATEGIES } from '../recovery/index.ts'
import { isOfLineage } from '../recovery/return-step.ts'
import type { Run } from '../run/run.ts'
import type { HeldStage } from '../run/stage-state.ts'
import { LazySnapshot } from './lazy-snapshot.ts'
import { branchesOf } from './remains.ts'
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
  /** The incarnation that this peer is in; null while it is in no roster. */
  lineage(): Lineage | null
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
  /** The incarnation that this peer was in last. */
  #lineage: Lineage | null = null
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
      this.#lineage ??= options.disk?.history?.lineage ?? null
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
  committed(held: HeldStage | null, roster: Roster): void {
    const { committed: step, loss } = roster
    const { disk, run } = this.#options
    // A disk that is slower than the interval skips a step. Its earlier states stay.
    if (disk === null || !isDue(run, roster) || this.#isWriting) return
    const own = held === null ? null : this.#copy(held, step, loss)
    this.#isWriting = true
    const written = this.#write(disk, own, roster).finally(() => {
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
    const { disk } = this.#options
    await this.#afterWrites(() => disk?.clear())
  }

  /** Resolves when nothing is written or removed any more. */
  async settled(): Promise<void> {
    await this.#written
  }

  /** True if this peer has a disk for states, and the run writes some. */
  get isThere(): boolean {
    const { disk, run } = this.#options
    return disk !== null && run.recovery.kept.everySteps > 0
  }

  /** Resolves when the states of earlier processes are checked. */
  get scanned(): Promise<unknown> {
    return this.#options.disk?.scanned ?? Promise.resolve()
  }

  /** What this peer can bring to a run of which every process ended. Complete once {@link scanned} resolved. */
  offer(): DiskOffer {
    const { disk } = this.#options
    const history = disk?.history ?? null
    return { history, holdings: history === null ? [] : this.#holdings }
  }

  get #holdings(): Holding[] {
    const { disk } = this.#options
    const branches = this.#history
    return disk?.holdings.filter((holding) => isOfLineage(branches, holding)) ?? []
  }

  /** The branches of the history that this peer follows. States of other branches are neither offered nor kept. */
  get #history(): readonly Branch[] {
    const { runId, lineage } = this.#options
    this.#lineage = lineage() ?? this.#lineage
    return branchesOf(runId, this.#lineage ?? FIRST)
  }

  #remove(stays: (holding: Holding) => boolean): Promise<void> {
    const { disk } = this.#options
    return this.#afterWrites(() => disk?.retain(stays))
  }

  #afterWrites(work: () => Promise<void> | undefined): Promise<void> {
    this.#written = this.#written
      .then(work)
      .catch((error: Error) => this.#notice(`an old state was not removed: ${error.message}`))
    return this.#written
  }

  #copy(held: HeldStage, step: number, loss: number | null): OwnState {
    const { clock } = this.#options
    const { weights, moments } = held.stage
    const { norm, updates, learningRateScale } = held.facts
    const name = {
      strategy: KEPT,
      stage: held.index,
      step,
      shard: 0,
      run: this.#history.at(-1)!.id,
    }
    const state = { ...name, loss, norm, updates, learningRateScale }
    const snapshot = new LazySnapshot(() => clock.sleep(0))
    this.#snapshot = snapshot
    const copied = snapshot.begin([weights, moments.firstMoment, moments.secondMoment])
    return { state, copied }
  }

  /** Writes what is new, and removes what is not needed any more. A failure is told once, and costs this step only. */
  async #write(disk: StageDisk, own: OwnState | null, roster: Roster): Promise<void> {
    const { clock, journal, lineage } = this.#options
    const { committed: step } = roster
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
      await disk.remember({ branches: [...this.#history], lineage: lineage() ?? FIRST, roster })
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
    const { kept } = this.#options
    const { id: run } = this.#history.at(-1)!
    let bytes = 0
    for (const copy of kept()) {
      const { name, facts } = copy
      // The name comes from another peer, and becomes a part of the file's name.
      if (!STRATEGIES.has(name.strategy) || name.strategy === KEPT) continue
      if (this.#holdings.some((holding) => isNamed(holding, name))) continue
      bytes += await disk.write({ ...name, run, loss: null, ...facts }, [copy.bytes])
    }
    return bytes
  }

  /** Removes states of stages that moved away, copies that are not kept any more, and those of other branches. */
  async #tidy(disk: StageDisk, stage: number | null, step: number): Promise<void> {
    const { run, kept } = this.#options
    const branches = this.#history
    const oldest = step - run.recovery.kept.everySteps
    // States of later steps are those of a branch that was given up while this peer was away.
    const upToNow = this.#holdings.filter((each) => each.step <= step)
    const own = upToNow.filter((each) => each.strategy === KEPT && each.stage === stage)
    const latest = own.sort((a, b) => b.step - a.step).slice(0, GENERATIONS)
    const inMemory = kept().map(({ name }) => name)
    const isNeeded = (holding: Holding) =>
      (holding.step >= oldest && holding.step <= step) ||
      latest.some((each) => isNamed(each, holding)) ||
      inMemory.some((name) => isNamed(holding, name))
    try {
      await disk.retain((holding) => isOfLineage(branches, holding) && isNeeded(holding))
    } catch (error) {
      this.#notice(`an old state was not removed: ${(error as Error).message}`)
    }
  }

  #notice(message: string): void {
    this.#options.journal.write({ type: 'notice', message })
  }
}

/** True if all members write this step: the first one, so that a run has something on its disks, and every so many. */
function isDue({ recovery }: Run, { committed, origin }: Roster): boolean {
  const { everySteps } = recovery.kept
  if (everySteps === 0) return false
  return committed % everySteps === 0 || committed === (origin?.step ?? 0) + 1
}

function isNamed(holding: CopyName, { strategy, stage, step, shard }: CopyName): boolean {
  const isSame = holding.strategy === strategy && holding.stage === stage
  return isSame && holding.step === step && holding.shard === shard
}
