/**
 * A time of its own for a swarm that is only modelled: events in order, and courses, which are generators that say what
 * they wait for. Unlike `sim/world/world.ts` nothing is awaited, so that an event costs a tenth of a microtask's turn.
 */
import { EventQueue, type QueuedEvent } from '../../world/event-queue.ts'

interface Due extends QueuedEvent {
  readonly fire: () => void
}

/** Something that a course can wait for, which happens at most once. */
export class Gate {
  #open = false
  readonly #waiting: (() => void)[] = []

  get isOpen(): boolean {
    return this.#open
  }

  open(): void {
    if (this.#open) return
    this.#open = true
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** Calls back once it is open, at once if it is. */
  whenOpen(wake: () => void): void {
    if (this.#open) wake()
    else this.#waiting.push(wake)
  }
}

/** What a course waits for: time, or the first of some gates. It looks for itself which it was. */
type Wait = number | readonly Gate[]

export type Course<T = void> = Generator<Wait, T, void>

export class Timeline {
  /** Milliseconds. */
  now = 0
  /** Events that have happened. */
  fired = 0
  readonly #queue = new EventQueue<Due>()
  #sequence = 0

  /** Events of the same time happen in the order in which they were scheduled. */
  schedule(ms: number, fire: () => void): void {
    const sequence = this.#sequence++
    this.#queue.push({ time: this.now + ms, sequence, place: -1, fire })
  }

  /** @returns what ends it where it waits */
  begin(course: Course): () => void {
    let ended = false
    const resume = () => {
      if (ended) return
      const { done, value } = course.next()
      if (done) return
      if (typeof value === 'number') {
        this.schedule(value, resume)
        return
      }
      let woken = false
      for (const gate of value) {
        gate.whenOpen(() => {
          if (woken) return
          woken = true
          // Never in the middle of what opened the gate.
          this.schedule(0, resume)
        })
      }
    }
    this.schedule(0, resume)
    return () => {
      ended = true
    }
  }

  /** Until that time, or until nothing is left to happen, or `over` says so. */
  run(untilMs: () => number, over: () => boolean): void {
    for (;;) {
      const next = this.#queue.first()
      if (next === undefined || next.time > untilMs() || over()) return
      this.#queue.remove(next)
      this.now = next.time
      this.fired++
      next.fire()
    }
  }
}
