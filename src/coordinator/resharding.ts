/** When a run that has had too few members for long is ended, so that it goes on with as many stages as they can hold. */

import type { CheckpointCoordinator } from '../checkpoint/checkpoint-coordinator.ts'
import { CheckpointError } from '../checkpoint/error.ts'
import type { AgreementOptions, Proposal } from '../membership/agreement.ts'
import { fewerStages, type Run } from '../run/run.ts'
import { Patience } from './patience.ts'

export interface ReshardingOptions extends AgreementOptions {
  readonly run: Run
  readonly checkpoints: CheckpointCoordinator
  /** How long enough members are waited for; Infinity waits for ever. */
  readonly afterMs: number
}

export class Resharding {
  readonly #options: ReshardingOptions
  readonly #patience: Patience
  /** Why the run could not be resharded the last time. */
  #complaint = ''

  constructor(options: ReshardingOptions) {
    this.#options = options
    this.#patience = new Patience(options.clock, options.afterMs, options.signal)
  }

  /** There are enough members: the next lack of members is waited for from its beginning. */
  reset(): void {
    this.#patience.reset()
  }

  /**
   * Waits for a change, or for as long as a run waits for enough members.
   * @param members number of members that would go on
   * @returns how the run is resharded; null after a change, or if the run cannot be resharded
   */
  async wait(members: number, change: Promise<void>): Promise<Proposal | null> {
    const { run, acceptor } = this.#options
    // Before the first step there is nothing to go on from. A spare that insists on another stage may yet be replaced.
    if (acceptor.roster.committed === 0 || members > run.stages) {
      this.#patience.reset()
      await change
      return null
    }
    if (await this.#patience.lasts(change)) return null
    this.#patience.reset()
    try {
      return await this.#propose(members)
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error
      const message = `the run is not resharded: ${error.message}`
      if (message !== this.#complaint) this.#options.journal.write({ type: 'notice', message })
      this.#complaint = message
      return null
    }
  }

  /** @throws CheckpointError if there is nothing that the run could go on from */
  async #propose(members: number): Promise<Proposal> {
    const { run, acceptor, checkpoints } = this.#options
    const { committed } = acceptor.roster
    const stages = fewerStages(run, members - 1)
    if (stages === null)
      throw new CheckpointError(`${members} members cannot hold any smaller number of stages`)
    const origin = await checkpoints.latestOrigin(committed)
    const reason = `${members} members for ${run.stages + 1} stages`
    return { type: 'reshard', stages, origin, reason }
  }
}
