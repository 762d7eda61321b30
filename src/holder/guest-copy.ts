/**
 * A copy of a held stage's weights after one step, for a peer that is not in the run: one at a time, for as long as its
 * connection stands, and not for ever.
 */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { TIMEOUTS } from '../base/limits.ts'

interface Kept<Copy> {
  readonly guest: PeerId
  readonly step: number
  /** Resolves with the copy once the step is committed. */
  readonly made: PromiseWithResolvers<Copy>
  /** Frees the copy. */
  readonly drop: (reason: string) => void
}

export class GuestCopy<Copy> {
  readonly #network: Network
  readonly #clock: Clock
  #kept: Kept<Copy> | null = null

  constructor({ network, clock }: { readonly network: Network; readonly clock: Clock }) {
    this.#network = network
    this.#clock = clock
  }

  /**
   * Asks for a copy as of `step`; to be called between two updates.
   * @param committed the step that the weights have in them now
   * @param copy makes it
   * @throws ProtocolError STALE if the step has passed, BUSY if another guest has a copy
   */
  ask(guest: PeerId, step: number, committed: number, copy: () => Copy): Promise<Copy> {
    if (step < committed) {
      throw new ProtocolError('STALE', `step ${step} has passed here: this is step ${committed}`)
    }
    if (this.#kept !== null && this.#kept.guest !== guest) {
      throw new ProtocolError('BUSY', `peer ${this.#kept.guest} is taking a copy of this stage`)
    }
    if (this.#kept?.step !== step) this.#begin(guest, step)
    const { made } = this.#kept!
    if (step === committed) made.resolve(copy())
    return made.promise
  }

  /** A step was applied. */
  committed(step: number, copy: () => Copy): void {
    if (this.#kept?.step === step) this.#kept.made.resolve(copy())
  }

  /** @throws ProtocolError STALE if no such copy is kept for this peer */
  of(guest: PeerId, step: number): Promise<Copy> {
    if (this.#kept?.guest === guest && this.#kept.step === step) return this.#kept.made.promise
    throw new ProtocolError('STALE', `no copy of step ${step} is kept for ${guest}`)
  }

  drop(reason: string): void {
    this.#kept?.drop(reason)
  }

  #begin(guest: PeerId, step: number): void {
    this.drop('another step was asked for')
    const made = Promise.withResolvers<Copy>()
    made.promise.catch(() => {})
    const over = new AbortController()
    const drop = (reason: string) => {
      removeLost()
      over.abort()
      made.reject(new ProtocolError('STALE', `the copy of step ${step} is gone: ${reason}`))
      this.#kept = null
    }
    const removeLost = this.#network.onLost((peer) => {
      if (peer === guest) drop('whom it was made for has gone')
    })
    this.#kept = { guest, step, made, drop }
    const limit = this.#clock.sleep(TIMEOUTS.guestCopyMs, over.signal)
    limit.then(
      () => drop('it was kept long enough'),
      () => {},
    )
  }
}
