/** The microbatches that this member drives in one step: their order, and how many are on their way at once. */
import type { Work } from './inbox.ts'
import { keyOf } from './step-progress.ts'

export class DriverQueue {
  readonly #inFlight: number
  readonly #start: (work: Work) => void
  /** Microbatches not yet started, in order. */
  readonly #waiting: Work[] = []
  /** Keys of those that were started and have not come back. */
  readonly #underway = new Set<string>()

  /**
   * @param inFlight microbatches that may be on their way at once
   * @param start hands a microbatch to the stage
   */
  constructor(inFlight: number, start: (work: Work) => void) {
    this.#inFlight = inFlight
    this.#start = start
  }

  /** Queues first or further attempts of microbatches. */
  add(fresh: readonly Work[]): void {
    for (const work of fresh) {
      const key = keyOf(work.header)
      const earlier = this.#waiting.findIndex(({ header }) => keyOf(header) === key)
      if (earlier >= 0) this.#waiting.splice(earlier, 1)
      // A microbatch that is driven again keeps its place among those on their way.
      if (this.#underway.has(key)) this.#start(work)
      else this.#waiting.push(work)
    }
    this.#fill()
  }

  /** A microbatch has come back. Has no effect on one that is driven elsewhere. */
  finished(work: Work): void {
    if (this.#underway.delete(keyOf(work.header))) this.#fill()
  }

  #fill(): void {
    while (this.#underway.size < this.#inFlight) {
      const work = this.#waiting.shift()
      if (work === undefined) return
      this.#underway.add(keyOf(work.header))
      this.#start(work)
    }
  }
}
