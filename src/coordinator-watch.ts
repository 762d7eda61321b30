/** A member's eye on the coordinator: who hears nothing for long asks once more, and then gives the run up. */
import type { Clock } from '../protocols/clock.ts'
import { ProtocolError } from '../protocols/errors.ts'
import { heartbeat, type Roster } from '../protocols/membership.ts'
import type { Network } from '../protocols/network.ts'
import { ask } from '../protocols/procedure.ts'
import { TIMEOUTS } from './limits.ts'
import { coordinatorOf } from './roster.ts'

export interface WatchOptions {
  readonly network: Network
  readonly clock: Clock
  readonly runId: string
  readonly signal: AbortSignal
  roster(): Roster | null
}

export class CoordinatorWatch {
  readonly #options: WatchOptions
  #heardAt: number

  constructor(options: WatchOptions) {
    this.#options = options
    this.#heardAt = options.clock.now()
  }

  /** The coordinator has just said something. */
  heard(): void {
    this.#heardAt = this.#options.clock.now()
  }

  /** Resolves with the reason when the coordinator is lost, with null when the signal aborts. */
  async lost(): Promise<string | null> {
    const { clock, network, signal, roster } = this.#options
    const removeLost = network.onLost((peer) => {
      const known = roster()
      // Its connection broke: count its silence from long ago, so that the next look asks at once.
      if (known !== null && peer === coordinatorOf(known).peer) {
        this.#heardAt = Number.NEGATIVE_INFINITY
      }
    })
    try {
      for (;;) {
        await clock.sleep(TIMEOUTS.heartbeatMs, signal)
        const known = roster()
        if (known === null || clock.now() - this.#heardAt < TIMEOUTS.silenceMs) continue
        const failure = await this.#failureOf(known)
        if (failure !== null) return failure
        this.heard()
      }
    } catch (error) {
      if (signal.aborted) return null
      throw error
    } finally {
      removeLost()
    }
  }

  /** Null if it answers. */
  async #failureOf(roster: Roster): Promise<string | null> {
    const { network, runId, signal } = this.#options
    const { peer } = coordinatorOf(roster)
    try {
      const question = { run: runId, epoch: roster.epoch }
      await ask(network, peer, heartbeat, question, { timeoutMs: TIMEOUTS.coordinatorMs, signal })
      return null
    } catch (error) {
      signal.throwIfAborted()
      return error instanceof ProtocolError && error.code === 'REFUSED'
        ? `the coordinator ${peer} has dropped this peer: join again`
        : `the coordinator ${peer} is lost (${(error as Error).message}); the run cannot go on without it`
    }
  }
}
