/** Tells all members what concerns them: for whom the step waits, which link is broken, who has lost its stage and why. */
import { ask } from '../../protocols/procedure.ts'
import { NOTICE_LENGTH, notice } from '../../protocols/reach.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { AgreementOptions } from '../membership/agreement.ts'

/** Notices that are remembered, so that none is told twice in a row. */
const REMEMBERED_MAX = 64

export class Teller {
  readonly #options: AgreementOptions
  /** When each text was told, in milliseconds of the clock. */
  readonly #toldAt = new Map<string, number>()

  constructor(options: AgreementOptions) {
    this.#options = options
  }

  /** Journals the message here and at all other members. A text that was told lately is not told again. Does not wait. */
  tell(message: string): void {
    const { network, journal, clock, runId, signal, acceptor } = this.#options
    const text = message.slice(0, NOTICE_LENGTH)
    const now = clock.now()
    if (signal.aborted || now - (this.#toldAt.get(text) ?? -Infinity) < TIMEOUTS.tellMs) return
    this.#toldAt.delete(text)
    this.#toldAt.set(text, now)
    for (const oldest of this.#toldAt.keys()) {
      if (this.#toldAt.size <= REMEMBERED_MAX) break
      this.#toldAt.delete(oldest)
    }
    journal.write({ type: 'notice', message: text })
    const question = { run: runId, message: text }
    const options = { timeoutMs: TIMEOUTS.rosterMs, signal }
    for (const { peer } of acceptor.roster.members) {
      // A member that does not hear of it misses nothing that it needs.
      if (peer !== network.self) ask(network, peer, notice, question, options).catch(() => {})
    }
  }
}
