/** How fast members are, as their last steps showed: microbatches a second of computing. */

/** Weight of the newest step: a machine that slows down is known within a few. */
const NEWEST = 0.5

export class Speeds {
  readonly #speeds = new Map<number, number>()

  /** Undefined for a member that has made no step yet. */
  of(id: number): number | undefined {
    return this.#speeds.get(id)
  }

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
