/**
 * The time of a modelled swarm: events in order, and courses. A course is a generator that yields what it waits for.
 * Unlike in `sim/world/world.ts` nothing is awaited, which avoids a turn of the microtask queue for each event.
 */
import { EventQueue, type QueuedEvent } from '../../world/event-queue.ts'

interface Due extends QueuedEvent {
  readonly fire: () => void
}

/** An event that a course can wait for. It happens at most once. */
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

  /** Calls back once the gate is open, at once if it is open already. */
  whenOpen(wake: () => void): void {
    if (this.#open) wake()
    else this.#waiting.push(wake)
  }
}

/** What a course waits for: milliseconds, or the first of some gates to open. */
type Wait = number | readonly Gate[]

export type Course<T = void> = Generator<Wait, T, void>

export class Timeline {
  /** Virtual time in milliseconds. */
  now = 0
  /** Number of events that have happened. */
  fired = 0
  readonly #queue = new EventQueue<Due>()
  #sequence = 0

  /** Events of the same time happen in the order in which they were scheduled. */
  schedule(ms: number, fire: () => void): void {
    const sequence = this.#sequence++
    this.#queue.push({ time: this.now + ms, sequence, place: -1, fire })
  }

  /** Runs a course. @returns a function that ends the course where it waits */
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
          // The course never resumes in the middle of the event that opened the gate.
          this.schedule(0, resume)
        })
      }
    }
    this.schedule(0, resume)
    return () => {
      ended = true
    }
  }

  /** Plays events until that time, until none is left, or until `over` says so. */
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
