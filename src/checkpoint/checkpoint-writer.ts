/** A holder's part in the checkpoints of a run: after the commit of every so many steps it writes its share, and tells. */
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

/** Whether the run has a checkpoint of this step. */
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
  /** Null if this peer knows of no store. */
  readonly checkpoints?: Store | null
  roster(): Roster | null
}

/** Of the stage that is held: there is room for one copy of it. */
interface InHand {
  readonly saver: StageSaver
  /** What is being written; null if nothing is. */
  step: number | null
  stalledMs: number
}

export class CheckpointWriter {
  readonly #options: CheckpointWriterOptions
  #inHand: InHand | null = null

  constructor(options: CheckpointWriterOptions) {
    this.#options = options
  }

  /** The stage is given up, or another one is taken: what is being written goes on by itself, from its copy. */
  reset(): void {
    this.#inHand = null
  }

  /** Must be called before each update. */
  beforeUpdate(): void {
    if (this.#inHand === null) return
    const { clock } = this.#options
    const begun = clock.now()
    this.#inHand.saver.beforeUpdate()
    this.#inHand.stalledMs += clock.now() - begun
  }

  /** The step of `roster` was applied to the stage. Resolves when training may go on. */
  async committed(held: HeldStage, roster: Roster, own: Member): Promise<void> {
    const { run, clock, checkpoints = null } = this.#options
    const { committed: step, epoch } = roster
    if (checkpoints === null || !isSaved(run, step)) return
    this.#inHand ??= {
      saver: new StageSaver(checkpoints, () => clock.sleep(0)),
      step: null,
      stalledMs: 0,
    }
    const inHand = this.#inHand
    if (inHand.step !== null) {
      const failure = `its part of step ${inHand.step} is still being written`
      return void this.#tell({ step, epoch, failure, bytes: 0, stalledSeconds: 0 })
    }
    inHand.step = step
    inHand.stalledMs = 0
    const holders = holdersOf(roster, held.index)
    const { parameters, weights, moments } = held.stage
    const { updates, norm, learningRateScale } = held.facts
    const writing = inHand.saver.begin({
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
      inHand.step = null
      const waits = run.recovery.checkpoint.mode === 'sync'
      const stalledMs = waits ? clock.now() - begun : inHand.stalledMs
      void this.#tell({ step, epoch, failure, bytes, stalledSeconds: stalledMs / 1000 })
    })
    // A store that hangs must not hold the swarm up for ever: from its copy the part can be written later, too.
    if (run.recovery.checkpoint.mode === 'sync') await this.#within(TIMEOUTS.syncSaveMs, over)
  }

  async #within(ms: number, work: Promise<void>): Promise<void> {
    const over = new AbortController()
    const late = this.#options.clock.sleep(ms, over.signal).catch(() => {})
    await Promise.race([work, late])
    over.abort()
  }

  /** A coordinator that does not hear it gives the step up in time. */
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
