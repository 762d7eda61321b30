/** Ends a run that has had too few members for long: it goes on with as many stages as they can hold. */
import type { Change } from '../../protocols/agreement.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Ballot } from '../../protocols/membership.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { CheckpointCoordinator } from '../checkpoint/checkpoint-coordinator.ts'
import { CheckpointError } from '../checkpoint/error.ts'
import { type AgreementOptions, choose } from '../membership/agreement.ts'
import { installAll } from '../membership/install.ts'
import { fewerStages, type Run } from '../run/run.ts'
import { Patience } from './patience.ts'

export interface ReshardingOptions extends AgreementOptions {
  readonly run: Run
  readonly saves: CheckpointCoordinator
  /** The coordinator's ballot. */
  readonly term: Ballot
  /** How long it is waited for enough members; Infinity waits for ever. */
  readonly afterMs: number
  /** Somebody comes or goes just now. */
  isMoving(): boolean
}

/** The run has ended here and goes on with fewer stages. */
export class Resharded extends Error {
  override readonly name = 'Resharded'
}

export class Resharding {
  readonly #options: ReshardingOptions
  readonly #patience: Patience
  /** Why it could not be, the last time. */
  #complaint = ''

  constructor(options: ReshardingOptions) {
    this.#options = options
    this.#patience = new Patience(options.clock, options.afterMs, options.signal)
  }

  /** There are enough members, or it has to be waited anew. */
  reset(): void {
    this.#patience.reset()
  }

  /**
   * Waits for a change; where none has come for long, ends the run. Returns too if that cannot be.
   * @param members that would go on
   * @throws Resharded
   */
  async wait(members: number, change: Promise<void>): Promise<void> {
    if (await this.#patience.lasts(change)) return
    try {
      if (!(await this.#end(members))) return
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error
      const message = `the run is not cut anew: ${error.message}`
      if (message !== this.#complaint) this.#options.journal.write({ type: 'notice', message })
      this.#complaint = message
      return
    }
    throw new Resharded('the run goes on with fewer stages')
  }

  /** False if somebody has come or gone meanwhile. @throws CheckpointError if there is nothing that it could go on from */
  async #end(members: number): Promise<boolean> {
    const { run, acceptor, saves, term, clock, signal, isMoving } = this.#options
    const before = acceptor.roster
    this.#patience.reset()
    const stages = fewerStages(run, members - 1)
    if (stages === null) throw new CheckpointError(`${members} can hold no fewer stages`)
    const origin = await saves.latestOrigin(before.committed)
    if (isMoving()) return false
    const change: Change = {
      type: 'reshard',
      coordinator: before.coordinator,
      ballot: term,
      stages,
      origin,
      reason: `${members} members for ${run.stages + 1} stages`,
    }
    const after = await choose(this.#options, term, change)
    // Who does not hear of it now is told when it asks for the coordinator.
    const late = clock.sleep(TIMEOUTS.reconnectMs, signal).then(() => {
      throw new ProtocolError('TIMEOUT', 'it did not come over')
    })
    late.catch(() => {})
    await installAll(this.#options, before, after, change, () => late)
    return true
  }
}
