/**
 * Decides whether a member or the data is at fault when a microbatch cannot be computed out of sound inputs. A second holder decides if there is one. A holder that is alone is asked twice. It is at fault if it fails on
 * several microbatches, or on none the second time; otherwise the data is.
 */
import type { Clock } from '../../protocols/clock.ts'
import type { PeerId } from '../../protocols/network.ts'
import { FAULTS_MAX, TIMEOUTS } from '../base/limits.ts'

/** The sum of all microbatches of a step, in place of an index. */
export const SUM = 'sum'
export type Index = number | typeof SUM

/** A member failed on a microbatch. */
export interface WorkFault {
  readonly step: number
  readonly index: Index
  readonly producer: PeerId
  readonly reason: string
}

/**
 * `again`: the step is made again. `elsewhere`: another holder of the stage computes this microbatch then. `producer`: the member
 * is at fault. `data`: the microbatch is.
 */
export type Verdict = 'again' | 'elsewhere' | 'producer' | 'data'

interface Strikes {
  readonly count: number
  readonly reason: string
  readonly at: number
}

export class WorkFaults {
  readonly #clock: Clock
  #step = -1
  /** Reasons by microbatch of the present step, then by producer. Each has one for each attempt. */
  readonly #faults = new Map<Index, Map<PeerId, string[]>>()
  readonly #strikes = new Map<PeerId, Strikes>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Notes faults of one attempt to make a step. */
  note(faults: readonly WorkFault[]): void {
    for (const { step, index, producer, reason } of faults) {
      if (step !== this.#step) this.#faults.clear()
      this.#step = step
      const producers = this.#faults.get(index) ?? new Map<PeerId, string[]>()
      this.#faults.set(index, producers)
      producers.set(producer, [...(producers.get(producer) ?? []), reason])
    }
  }

  /**
   * Judges a fault that was noted.
   * @param holders of the producer's stage
   * @param microbatches of a step
   */
  judge({ index, producer }: WorkFault, holders: readonly PeerId[], microbatches: number): Verdict {
    const producers = this.#faults.get(index)!
    const isOther = holders.some((peer) => !producers.has(peer))
    if (producers.size >= 2 && !isOther) return 'data'
    if (isOther && index === SUM) return 'producer'
    if (isOther) return 'elsewhere'
    if (producers.get(producer)!.length < 2) return 'again'
    if (index === SUM || microbatches === 1) return 'producer'
    const failed = [...this.#faults.values()].filter((each) => each.has(producer))
    return failed.length >= 2 ? 'producer' : 'data'
  }

  /** True if the peer has failed on this microbatch of the step, so that another holder should compute it. */
  isAvoided(step: number, index: number, peer: PeerId): boolean {
    return step === this.#step && (this.#faults.get(index)?.has(peer) ?? false)
  }

  /** Peers that failed on these microbatches. */
  producersOf(indices: readonly Index[]): PeerId[] {
    return [...new Set(indices.flatMap((index) => [...(this.#faults.get(index)?.keys() ?? [])]))]
  }

  /** The microbatches are at fault, and no peer that failed on them is. The step is not made as it was planned. */
  acquit(indices: readonly Index[]): void {
    for (const peer of this.producersOf(indices)) {
      const strikes = this.#strikes.get(peer)
      if (strikes !== undefined) this.#strikes.set(peer, { ...strikes, count: strikes.count - 1 })
    }
    this.#faults.clear()
  }

  /** The step was made. @returns the peers that had failed on it, each with the reason: they are at fault */
  stepMade(): ReadonlyMap<PeerId, string> {
    const guilty = new Map<PeerId, string>()
    for (const producers of this.#faults.values()) {
      for (const [peer, reasons] of producers) guilty.set(peer, reasons[0]!)
    }
    this.#faults.clear()
    return guilty
  }

  /** The peer is at fault. @returns how often it was lately */
  strike(peer: PeerId, reason: string): number {
    const count = this.strikesOf(peer) + 1
    this.#strikes.delete(peer)
    this.#strikes.set(peer, { count, reason, at: this.#clock.now() })
    for (const oldest of this.#strikes.keys()) {
      if (this.#strikes.size <= FAULTS_MAX.peers) break
      this.#strikes.delete(oldest)
    }
    return count
  }

  /** How often the peer was at fault lately. */
  strikesOf(peer: PeerId): number {
    const known = this.#strikes.get(peer)
    const isOld = known === undefined || this.#clock.now() - known.at > TIMEOUTS.faultsMs
    return isOld ? 0 : known.count
  }

  /** Why the peer is not let in again; null if it is. */
  refusalOf(peer: PeerId): string | null {
    if (this.strikesOf(peer) <= FAULTS_MAX.strikes) return null
    const { count, reason } = this.#strikes.get(peer)!
    const minutes = TIMEOUTS.faultsMs / 60_000
    return `this peer lost its stage ${count} times for its own faults, the last time because ${reason}. Check its memory and its processor. It is let in again after ${minutes} minutes`
  }
}
