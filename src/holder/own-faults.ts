/** Faults of this peer's own stages: a thread that died, hangs, or has no memory. Too many in an hour make the peer leave. */

import type { Clock } from '../../protocols/clock.ts'
import { HOUR_MS } from '../../protocols/clock.ts'
import type { Journal } from '../base/journal.ts'
import { OWN_FAULTS_MAX } from '../base/limits.ts'

export interface OwnFaultsOptions {
  readonly clock: Clock
  readonly journal: Journal
  /** Called when this peer has had too many faults. @param failure what its user has to do */
  leave(failure: string): void
}

export class OwnFaults {
  readonly #options: OwnFaultsOptions
  /** Reasons of the last hour by their times. */
  #faults: { readonly at: number; readonly reason: string }[] = []

  constructor(options: OwnFaultsOptions) {
    this.#options = options
  }

  /** This peer's stage is gone. */
  note(reason: string): void {
    const { clock, journal, leave } = this.#options
    const now = clock.now()
    this.#faults = this.#faults.filter(({ at }) => now - at < HOUR_MS)
    this.#faults.push({ at: now, reason })
    const message = `${reason}. This peer gives the stage up: another member takes it, and this peer may take a stage again`
    journal.write({ type: 'notice', message })
    if (this.#faults.length < OWN_FAULTS_MAX) return
    const reasons = this.#faults.map((fault) => fault.reason).join('; ')
    leave(
      `this peer has lost ${OWN_FAULTS_MAX} stages within an hour by its own fault (${reasons}). Check its memory and its processor before you start it again`,
    )
  }
}
