/** The coordinator's part in checkpoints: it writes a step's manifest when all holders have written their parts. */
import type { SavedQuestion } from '../../protocols/checkpoint.ts'
import { type Clock, withDeadline } from '../../protocols/clock.ts'
import type { Origin, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { Journal } from '../base/journal.ts'
import { CHECKPOINTS_KEPT, TIMEOUTS } from '../base/limits.ts'
import { holdersOf, memberOf } from '../membership/roster.ts'
import { checkpointReadMs } from '../run/budgets.ts'
import type { Run } from '../run/run.ts'
import { isSaved } from './checkpoint-writer.ts'
import { CheckpointError } from './error.ts'
import { type Manifest, originOf } from './manifest.ts'
import { commitStep } from './save.ts'
import { latestComplete, retain } from './steps.ts'
import type { Store } from './store.ts'

export interface CheckpointCoordinatorOptions {
  readonly run: Run
  readonly clock: Clock
  readonly journal: Journal
  readonly checkpoints?: Store | null
  roster(): Roster
}

/** A checkpoint that is being written. */
interface Save {
  readonly step: number
  /** The roster's epoch that commits the step. */
  readonly epoch: number
  /** Number of holders of each stage. */
  readonly replicas: readonly number[]
  /** Holders that have not written their parts yet, by id. */
  readonly missing: Map<number, PeerId>
  /** Clock time in ms. */
  readonly begun: number
  bytes: number
  stalledSeconds: number
}

export class CheckpointCoordinator {
  readonly #options: CheckpointCoordinatorOptions
  /** Checkpoints that are being written, by step, in the order in which they were begun. */
  readonly #saves = new Map<number, Save>()
  /** Manifests are written one after another. */
  #completing: Promise<void> = Promise.resolve()
  /** Why no checkpoint was found; null if one was found, or none was looked for yet. */
  #missingReason: string | null = null

  constructor(options: CheckpointCoordinatorOptions) {
    this.#options = options
  }

  /** Why the last search found no checkpoint; null if it found one, or a step was committed since. */
  get noCheckpoint(): string | null {
    return this.#missingReason
  }

  /** The step is about to be committed to the roster. */
  begin(roster: Roster, step: number): void {
    const { run, clock, checkpoints = null } = this.#options
    // The next search may find what the last one did not.
    this.#missingReason = null
    if (checkpoints === null || !isSaved(run, step)) return
    // A holder may still write its part when the next checkpoint begins, but no longer when the one after that does.
    const [oldest] = this.#saves.values()
    if (this.#saves.size > 1) this.#giveUp(oldest!, this.#waitedFor(oldest!))
    const stages = Array.from({ length: run.stages + 1 }, (_, stage) => holdersOf(roster, stage))
    this.#saves.set(step, {
      step,
      epoch: roster.epoch + 1,
      replicas: stages.map(({ length }) => length),
      missing: new Map(stages.flat().map(({ id, peer }) => [id, peer])),
      begun: clock.now(),
      bytes: 0,
      stalledSeconds: 0,
    })
  }

  /** A holder has written its part of a checkpoint, or has failed to. */
  saved(from: PeerId, { step, epoch, failure, bytes, stalledSeconds }: SavedQuestion): void {
    const save = this.#saves.get(step)
    const member = memberOf(this.#options.roster(), from)
    if (save?.epoch !== epoch || member === undefined || !save.missing.has(member.id)) return
    if (failure !== null) {
      this.#giveUp(save, `${from}: ${failure}`)
      return
    }
    save.missing.delete(member.id)
    save.bytes += bytes
    save.stalledSeconds = Math.max(save.stalledSeconds, stalledSeconds)
    if (save.missing.size > 0) return
    this.#completing = this.#completing.then(() => this.#complete(save))
  }

  /** A member is gone. */
  forget(id: number): void {
    for (const save of [...this.#saves.values()]) {
      const peer = save.missing.get(id)
      if (peer !== undefined) this.#giveUp(save, `${peer} is gone, and had not saved its part`)
    }
  }

  /** Gives up all checkpoints that are being written. */
  giveUp(reason: string): void {
    for (const save of [...this.#saves.values()]) this.#giveUp(save, reason)
  }

  /** Waits until all checkpoints are written, at most {@link TIMEOUTS.lastSaveMs}. Then gives up the rest. */
  async over(): Promise<void> {
    const { clock } = this.#options
    const until = clock.now() + TIMEOUTS.lastSaveMs
    while (this.#saves.size > 0 && clock.now() < until) await clock.sleep(TIMEOUTS.retryMs)
    for (const save of [...this.#saves.values()]) this.#giveUp(save, this.#waitedFor(save))
  }

  /**
   * The last complete step up to `upTo` whose tensors all have the right digests. Null if there is none; then
   * {@link noCheckpoint} says why.
   */
  async latest(upTo: number): Promise<number | null> {
    const { found, reason } = await this.#find(upTo)
    this.#missingReason = reason
    return found?.step ?? null
  }

  /** Names the same step, for a run that continues from it with fewer stages. @throws CheckpointError if there is none */
  async latestOrigin(upTo: number): Promise<Origin> {
    const { found, reason } = await this.#find(upTo)
    if (found === null) throw new CheckpointError(reason!)
    return originOf(found)
  }

  /** @returns `reason` says why nothing was found */
  async #find(upTo: number): Promise<{ found: Manifest | null; reason: string | null }> {
    const { run, clock, journal, checkpoints = null, roster } = this.#options
    this.giveUp('the run rolls back to an earlier step')
    await this.#completing
    const refused: string[] = []
    const onRefused = (step: number, reason: string) => {
      refused.push(reason)
      journal.write({ type: 'notice', message: `checkpoint of step ${step} refused: ${reason}` })
    }
    try {
      if (checkpoints === null) throw new Error('this peer was given no store (--checkpoints)')
      const { origin } = roster()
      const options = { run, origin, depth: 'content', upTo, onRefused } as const
      const timeoutMs = checkpointReadMs(run)
      const found = await withDeadline({ clock, timeoutMs }, `${checkpoints.location}`, () =>
        latestComplete(checkpoints, options),
      )
      const reason =
        found === null ? ['there is no complete checkpoint yet', ...refused].join('; ') : null
      return { found, reason }
    } catch (error) {
      return { found: null, reason: `no checkpoint can be read: ${(error as Error).message}` }
    }
  }

  async #complete(save: Save): Promise<void> {
    const { run, clock, journal, checkpoints } = this.#options
    const { step, epoch, replicas, begun, bytes, stalledSeconds } = save
    if (this.#saves.get(step) !== save) return
    const store = checkpoints!
    const deadline = { clock, timeoutMs: TIMEOUTS.storeMs }
    try {
      await withDeadline(deadline, `the manifest of step ${step}`, () =>
        commitStep(store, { run, step, replicas, attempt: epoch }),
      )
    } catch (error) {
      return this.#giveUp(save, (error as Error).message)
    }
    this.#saves.delete(step)
    this.#missingReason = null
    const seconds = (clock.now() - begun) / 1000
    journal.write({ type: 'checkpoint', step, bytes, seconds, stalledSeconds })
    for (const earlier of [...this.#saves.values()]) {
      if (earlier.step < step) this.#giveUp(earlier, `step ${step} was complete before it`)
    }
    try {
      await withDeadline(deadline, 'old checkpoints to be removed', () =>
        retain(store, CHECKPOINTS_KEPT, step),
      )
    } catch (error) {
      const message = `old checkpoints are still there: ${(error as Error).message}`
      journal.write({ type: 'notice', message })
    }
  }

  #giveUp(save: Save, reason: string): void {
    if (!this.#saves.delete(save.step)) return
    const message = `no checkpoint of step ${save.step}: ${reason}`
    this.#options.journal.write({ type: 'notice', message })
  }

  #waitedFor({ missing, begun }: Save): string {
    const ms = Math.round(this.#options.clock.now() - begun)
    const what = missing.size === 0 ? 'its manifest was' : `${[...missing.values()].join(', ')} had`
    return `${what} not saved in ${ms} ms`
  }
}
