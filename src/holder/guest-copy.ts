/**
 * A copy of the active stage's weights after one step, for a guest: a peer that is not in the run. There is one copy at
 * a time. It is freed when the guest's connection breaks, and after {@link TIMEOUTS.guestCopyMs}.
 */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { WeightsCopy } from './stage-replica.ts'

interface Kept {
  readonly guest: PeerId
  readonly step: number
  /** Resolves with the copy once the step is committed. */
  readonly made: PromiseWithResolvers<WeightsCopy>
  /** Frees the copy. */
  readonly drop: (reason: string) => void
}

export class GuestCopy {
  readonly #network: Network
  readonly #clock: Clock
  #kept: Kept | null = null

  constructor({ network, clock }: { readonly network: Network; readonly clock: Clock }) {
    this.#network = network
    this.#clock = clock
  }

  /**
   * Resolves with the copy once `step` is committed. Must be called between two updates.
   * @param committed the step after which the weights are now
   * @param copy makes the copy
   * @throws ProtocolError STALE if the step has passed, BUSY if another guest has a copy
   */
  ask(
    guest: PeerId,
    step: number,
    committed: number,
    copy: () => WeightsCopy,
  ): Promise<WeightsCopy> {
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
  committed(step: number, copy: () => WeightsCopy): void {
    if (this.#kept?.step === step) this.#kept.made.resolve(copy())
  }

  /** @throws ProtocolError STALE if no such copy is kept for this guest */
  of(guest: PeerId, step: number): Promise<WeightsCopy> {
    if (this.#kept?.guest === guest && this.#kept.step === step) return this.#kept.made.promise
    throw new ProtocolError('STALE', `no copy of step ${step} is kept for ${guest}`)
  }

  /** Frees the copy, if there is one. */
  drop(reason: string): void {
    this.#kept?.drop(reason)
  }

  #begin(guest: PeerId, step: number): void {
    this.drop('another step was asked for')
    const made = Promise.withResolvers<WeightsCopy>()
    made.promise.catch(() => {})
    const over = new AbortController()
    const drop = (reason: string) => {
      removeLost()
      over.abort()
      made.reject(new ProtocolError('STALE', `the copy of step ${step} is gone: ${reason}`))
      this.#kept = null
    }
    const removeLost = this.#network.onLost((peer) => {
      if (peer === guest) drop('its guest is gone')
    })
    this.#kept = { guest, step, made, drop }
    const limit = this.#clock.sleep(TIMEOUTS.guestCopyMs, over.signal)
    limit.then(
      () => drop('it was kept for the longest allowed time'),
      () => {},
    )
  }
}
