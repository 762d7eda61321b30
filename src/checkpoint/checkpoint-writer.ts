/** A holder's part in checkpoints: after some commits it writes its share of its stage, and tells the coordinator. */
import { saved } from '../../protocols/checkpoint.ts'
import type { Clock } from '../../protocols/clock.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { Network } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { coordinatorOf, holdersOf } from '../membership/roster.ts'
import type { Run } from '../run/run.ts'
import type { HeldStage } from '../run/stage-state.ts'
import { StageSaver } from './stage-saver.ts'
import type { Store } from './store.ts'

/** True if the run is to have a checkpoint of this step. */
export function isSaved({ recovery }: Run, step: number): boolean {
  const { policy, checkpoint } = recovery
  return policy.includes('checkpoint') && step % checkpoint.everySteps === 0
}

export interface CheckpointWriterOptions {
  readonly run: Run
  readonly runId: string
  readonly network: Network
  readonly clock: Clock
  readonly signal: AbortSignal
  /** Where checkpoints lie; null if this peer was given no store. */
  readonly checkpoints?: Store | null
  roster(): Roster | null
}

/** Checkpoints of the active stage. There is room for one copy of its state. */
interface Saving {
  readonly saver: StageSaver
  /** The step that is being written; null if none is. */
  step: number | null
  /** Time in ms that training waited for this step's copy. */
  stalledMs: number
}

export class CheckpointWriter {
  readonly #options: CheckpointWriterOptions
  #saving: Saving | null = null

  constructor(options: CheckpointWriterOptions) {
    this.#options = options
  }

  /** The stage was given up. A step that is being written is completed from its copy. */
  reset(): void {
    this.#saving = null
  }

  /** Must be called before each update. */
  beforeUpdate(): void {
    if (this.#saving === null) return
    const { clock } = this.#options
    const begun = clock.now()
    this.#saving.saver.beforeUpdate()
    this.#saving.stalledMs += clock.now() - begun
  }

  /** The step of `roster` was applied to the stage. Resolves when training may continue. */
  async committed(held: HeldStage, roster: Roster, own: Member): Promise<void> {
    const { run, clock, checkpoints = null } = this.#options
    const { committed: step, epoch } = roster
    if (checkpoints === null || !isSaved(run, step)) return
    this.#saving ??= {
      saver: new StageSaver(checkpoints, () => clock.sleep(0)),
      step: null,
      stalledMs: 0,
    }
    const saving = this.#saving
    if (saving.step !== null) {
      const failure = `its part of step ${saving.step} is still being written`
      return void this.#tell({ step, epoch, failure, bytes: 0, stalledSeconds: 0 })
    }
    saving.step = step
    saving.stalledMs = 0
    const holders = holdersOf(roster, held.index)
    const { parameters, weights, moments } = held.stage
    const { updates, norm, learningRateScale } = held.facts
    const writing = saving.saver.begin({
      run,
      step,
      attempt: epoch,
      stage: held.index,
      replica: holders.findIndex(({ id }) => id === own.id),
      replicas: holders.length,
      parameters,
      tensors: { weights, ...moments },
      fields: { updates, learningRateScale, gradientNorm: norm },
    })
    const begun = clock.now()
    const outcome = writing
      .then(({ saved }) => saved)
      .then(
        ({ bytes }) => ({ bytes, failure: null }),
        (error: Error) => ({ bytes: 0, failure: error.message.slice(0, 2000) }),
      )
    const over = outcome.then(({ bytes, failure }) => {
      saving.step = null
      const waits = run.recovery.checkpoint.mode === 'sync'
      const stalledMs = waits ? clock.now() - begun : saving.stalledMs
      void this.#tell({ step, epoch, failure, bytes, stalledSeconds: stalledMs / 1000 })
    })
    // A store that hangs must not stop training for ever. The part can be written later from its copy.
    if (run.recovery.checkpoint.mode === 'sync') await this.#within(TIMEOUTS.syncSaveMs, over)
  }

  async #within(ms: number, work: Promise<void>): Promise<void> {
    const over = new AbortController()
    const late = this.#options.clock.sleep(ms, over.signal).catch(() => {})
    await Promise.race([work, late])
    over.abort()
  }

  /** Tells the coordinator. If the message is lost, the coordinator gives the checkpoint up later. */
  async #tell(facts: {
    readonly step: number
    readonly epoch: number
    readonly failure: string | null
    readonly bytes: number
    readonly stalledSeconds: number
  }): Promise<void> {
    const { network, runId, signal, roster } = this.#options
    const known = roster()
    if (known === null) return
    const options = { timeoutMs: TIMEOUTS.reportMs, signal }
    const question = { run: runId, ...facts }
    await ask(network, coordinatorOf(known).peer, saved, question, options).catch(() => {})
  }
}
