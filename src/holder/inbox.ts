/**
 * Work that waits for this stage. Handlers only enqueue; the stage takes work at its own pace. Backward comes before
 * forward, forward before new microbatches, and the oldest microbatch first. Finished work thus leaves the pipeline
 * early, and few activations are kept.
 */
import { ProtocolError } from '../../protocols/errors.ts'
import type { MicrobatchHeader } from '../../protocols/microbatch.ts'
import type { StepProgress } from './step-progress.ts'

export interface Work {
  /** The step that was open when the work came in. */
  readonly step: StepProgress
  readonly header: MicrobatchHeader
  /** The activation or gradient; null for a microbatch that its driver has yet to start. */
  readonly tensor: Float32Array | null
}

function urgency({ header, tensor }: Work): number {
  if (tensor === null) return 2
  return header.direction === 'backward' ? 0 : 1
}

export class Inbox {
  readonly #capacity: number
  #waiting: Work[] = []
  #taker: PromiseWithResolvers<Work> | null = null

  /** @param capacity entries that may wait at once */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Number of waiting entries. */
  get size(): number {
    return this.#waiting.length
  }

  /** @throws ProtocolError BUSY when full */
  put(work: Work): void {
    if (this.#taker !== null) {
      const taker = this.#taker
      this.#taker = null
      taker.resolve(work)
      return
    }
    if (this.#waiting.length >= this.#capacity) {
      throw new ProtocolError('BUSY', `the inbox holds ${this.#capacity} microbatches already`)
    }
    this.#waiting.push(work)
  }

  /** Takes the most urgent work. Waits if there is none. Only one caller may wait at a time. */
  take(): Promise<Work> {
    if (this.#waiting.length === 0) {
      this.#taker = Promise.withResolvers()
      return this.#taker.promise
    }
    let best = 0
    for (let i = 1; i < this.#waiting.length; i++) {
      const [a, b] = [this.#waiting[i]!, this.#waiting[best]!]
      const more = urgency(b) - urgency(a) || b.header.index - a.header.index
      if (more > 0) best = i
    }
    return Promise.resolve(this.#waiting.splice(best, 1)[0]!)
  }

  clear(): void {
    this.#waiting = []
  }

  /** Empties the inbox. A pending `take` fails with `reason`. */
  close(reason: Error): void {
    this.clear()
    this.#taker?.reject(reason)
    this.#taker = null
  }
}
