/** The coordinator's list of checkpoints on their way: nothing waits for them, and a step exists when all have told. */
import type { SavedQuestion } from '../../protocols/checkpoint.ts'
import { type Clock, withDeadline } from '../../protocols/clock.ts'
import type { Origin, Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { Journal } from '../base/journal.ts'
import { CHECKPOINTS_KEPT, TIMEOUTS } from '../base/limits.ts'
import { holdersOf, memberOf } from '../membership/roster.ts'
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

interface Save {
  readonly step: number
  /** That commits it. */
  readonly epoch: number
  readonly replicas: readonly number[]
  /** Holders that have not told yet, by id. */
  readonly missing: Map<number, PeerId>
  readonly begun: number
  bytes: number
  stalledSeconds: number
}

export class CheckpointCoordinator {
  readonly #options: CheckpointCoordinatorOptions
  /** By step, in the order of their beginning. */
  readonly #inHand = new Map<number, Save>()
  /** Manifests are written one after another. */
  #completing: Promise<void> = Promise.resolve()
  /** Why there is nothing to go back to; null if there is, or nobody has looked yet. */
  #none: string | null = null

  constructor(options: CheckpointCoordinatorOptions) {
    this.#options = options
  }

  get noCheckpoint(): string | null {
    return this.#none
  }

  /** The step is about to be committed to the roster. */
  begin(roster: Roster, step: number): void {
    const { run, clock, checkpoints = null } = this.#options
    // What could not be found may be found the next time.
    this.#none = null
    if (checkpoints === null || !isSaved(run, step)) return
    // Whoever has not told by the time of the next one may still be writing; by the one after it never will.
    const [oldest] = this.#inHand.values()
    if (this.#inHand.size > 1) this.#giveUp(oldest!, this.#waitedFor(oldest!))
    const stages = Array.from({ length: run.stages + 1 }, (_, stage) => holdersOf(roster, stage))
    this.#inHand.set(step, {
      step,
      epoch: roster.epoch + 1,
      replicas: stages.map(({ length }) => length),
      missing: new Map(stages.flat().map(({ id, peer }) => [id, peer])),
      begun: clock.now(),
      bytes: 0,
      stalledSeconds: 0,
    })
  }

  /** A holder's share lies in the store, or will not. */
  saved(from: PeerId, { step, epoch, failure, bytes, stalledSeconds }: SavedQuestion): void {
    const save = this.#inHand.get(step)
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

  /** A member is no more. */
  forget(id: number): void {
    for (const save of [...this.#inHand.values()]) {
      const peer = save.missing.get(id)
      if (peer !== undefined) this.#giveUp(save, `${peer} is gone, and had not saved its part`)
    }
  }

  giveUp(reason: string): void {
    for (const save of [...this.#inHand.values()]) this.#giveUp(save, reason)
  }

  /** Waits for what is on its way, for a time. */
  async over(): Promise<void> {
    const { clock } = this.#options
    const until = clock.now() + TIMEOUTS.lastSaveMs
    while (this.#inHand.size > 0 && clock.now() < until) await clock.sleep(TIMEOUTS.retryMs)
    for (const save of [...this.#inHand.values()]) this.#giveUp(save, this.#waitedFor(save))
  }

  /**
   * The last complete step up to this one, each of its tensors read and held to its digest; null if there is none, and
   * then {@link noCheckpoint} says why.
   */
  async latest(upTo: number): Promise<number | null> {
    const { found, reason } = await this.#find(upTo)
    this.#none = reason
    return found?.step ?? null
  }

  /** The same, for a run that goes on from it with fewer stages. @throws CheckpointError that says why there is none */
  async latestOrigin(upTo: number): Promise<Origin> {
    const { found, reason } = await this.#find(upTo)
    if (found === null) throw new CheckpointError(reason!)
    return originOf(found)
  }

  /** @returns `reason` if nothing was found */
  async #find(upTo: number): Promise<{ found: Manifest | null; reason: string | null }> {
    const { run, clock, journal, checkpoints = null, roster } = this.#options
    this.giveUp('the swarm goes back to an earlier step')
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
      const timeoutMs = TIMEOUTS.holdMs
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
    if (this.#inHand.get(step) !== save) return
    const store = checkpoints!
    const deadline = { clock, timeoutMs: TIMEOUTS.storeMs }
    try {
      await withDeadline(deadline, `the manifest of step ${step}`, () =>
        commitStep(store, { run, step, replicas, attempt: epoch }),
      )
    } catch (error) {
      return this.#giveUp(save, (error as Error).message)
    }
    this.#inHand.delete(step)
    this.#none = null
    const seconds = (clock.now() - begun) / 1000
    journal.write({ type: 'checkpoint', step, bytes, seconds, stalledSeconds })
    for (const earlier of [...this.#inHand.values()]) {
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
    if (!this.#inHand.delete(save.step)) return
    const message = `no checkpoint of step ${save.step}: ${reason}`
    this.#options.journal.write({ type: 'notice', message })
  }

  #waitedFor({ missing, begun }: Save): string {
    const ms = Math.round(this.#options.clock.now() - begun)
    const what = missing.size === 0 ? 'its manifest was' : `${[...missing.values()].join(', ')} had`
    return `${what} not saved in ${ms} ms`
  }
}
