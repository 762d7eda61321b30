/** Measures how fast members are: microbatches a second of computing, from their last steps. */

/** Weight of the newest step. A machine that slows down is noticed within a few steps. */
const NEWEST = 0.5

export class Speeds {
  readonly #speeds = new Map<number, number>()

  /** Microbatches a second; undefined for a member that has made no step yet. */
  of(id: number): number | undefined {
    return this.#speeds.get(id)
  }

  /** The least speed of a member that is known; undefined if none is. */
  get slowest(): number | undefined {
    return this.#speeds.size === 0 ? undefined : Math.min(...this.#speeds.values())
  }

  /** @param seconds that the member spent computing them */
  note(id: number, microbatches: number, seconds: number): void {
    if (microbatches === 0 || !(seconds > 0)) return
    const now = microbatches / seconds
    const before = this.#speeds.get(id)
    this.#speeds.set(id, before === undefined ? now : NEWEST * now + (1 - NEWEST) * before)
  }

  forget(id: number): void {
    this.#speeds.delete(id)
  }
}
