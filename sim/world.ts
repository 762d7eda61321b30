/**
 * A world in one thread, with a time of its own. Code runs in it as it does outside: it awaits sleeps, messages and
 * computations. But time stands still while anything can still run, then jumps to the next event, so that a day takes
 * as long as its events do, and the same seed always gives the same day.
 *
 * That holds if all waiting ends in an event of the world. What really takes time (a worker thread, a file) must go
 * through `compute`; what is awaited behind the world's back is not waited for.
 */
import type { Clock } from '../protocols/clock.ts'
import { Random } from '../stages/random.ts'
import { EventQueue, type QueuedEvent } from './event-queue.ts'

export interface WorldOptions {
  readonly seed: string | number
  /** Events of the whole life of the world: what ends a loop that makes events without end. */
  readonly eventsMax?: number
}

export interface RunOptions {
  /** What is waited for, to be named if it never happens. */
  readonly waitingFor: string
  /** The virtual time at which waiting is given up. */
  readonly untilMs?: number
}

/** About a minute of real time, if nothing but events happens. */
const EVENTS_MAX = 10_000_000

/** Events that a WorldError tells of: enough to see the last exchange between two peers. */
const RECENT_EVENTS = 12

/** Lines about pending events in a WorldError; there may be thousands of events. */
const PENDING_LINES = 12

interface WorldEvent extends QueuedEvent {
  readonly label: string
  readonly fire: () => void
  /** Real work that must be over before the event; it never rejects. */
  work?: Promise<void>
}

/** What is awaited cannot happen any more, or not within a bound. The message lists what is pending. */
export class WorldError extends Error {
  override readonly name = 'WorldError'
}

/**
 * @example
 * ```ts
 * const world = new World({ seed: 1 })
 * const day = world.clock.sleep(86_400_000)
 * await world.run(day, { waitingFor: 'the day to end' })
 * ```
 */
export class World {
  /** Virtual time, from 0. */
  readonly clock: Clock
  /** Draw from named streams of it. */
  readonly random: Random
  readonly #eventsMax: number
  readonly #queue = new EventQueue<WorldEvent>()
  readonly #working = new Set<Promise<void>>()
  readonly #recent: string[] = []
  #now = 0
  #scheduled = 0
  #fired = 0
  #running = false

  constructor({ seed, eventsMax = EVENTS_MAX }: WorldOptions) {
    this.#eventsMax = eventsMax
    this.random = new Random(seed)
    this.clock = { now: () => this.#now, sleep: (ms, signal) => this.#sleep(ms, signal) }
  }

  /** Events that have happened. */
  get fired(): number {
    return this.#fired
  }

  /** Events that will happen unless they are cancelled. */
  get pending(): number {
    return this.#queue.size
  }

  /**
   * Makes something happen after `ms`; events of the same time happen in the order in which they were scheduled.
   * @param label what it is, for whoever reads a WorldError
   * @returns cancels it
   */
  schedule(ms: number, label: string, fire: () => void): () => void {
    const event = this.#enqueue(ms, label, fire)
    return () => this.#queue.remove(event)
  }

  /**
   * Really works, while time stands still; the outcome is there after `ms` of virtual time. The place among the
   * events is taken before the work starts: afterwards, events of equal time would happen in the order in which real
   * work ends, and the same seed would give different histories.
   */
  async compute<T>(ms: number, label: string, work: () => T | Promise<T>): Promise<T> {
    const due = Promise.withResolvers<void>()
    const event = this.#enqueue(ms, label, due.resolve)
    const outcome = (async () => work())()
    const over = outcome.then(
      () => {},
      () => {},
    )
    event.work = over
    this.#working.add(over)
    // A failure, too, is known at its time and not before.
    await due.promise
    return await outcome
  }

  /**
   * Lets time go by until `outcome` is settled, and returns it. Time stops there until the next call.
   * @throws WorldError if it cannot settle any more, or not within the bounds
   */
  async run<T>(outcome: Promise<T>, { waitingFor, untilMs = Infinity }: RunOptions): Promise<T> {
    if (this.#running) throw new Error('the world is running already')
    this.#running = true
    let settled = false
    const settle = () => {
      settled = true
    }
    outcome.then(settle, settle)
    try {
      for (;;) {
        await everyMicrotask()
        if (settled) return await outcome
        await this.#step(waitingFor, untilMs)
      }
    } finally {
      this.#running = false
    }
  }

  /** One event, or none if real work had to end first: what comes next is then to be looked at again. */
  async #step(waitingFor: string, untilMs: number): Promise<void> {
    const next = this.#queue.first()
    if (next === undefined) throw this.#error('nothing is left to happen', waitingFor)
    if (next.time > this.#now && this.#working.size > 0) {
      await Promise.all(this.#working)
      this.#working.clear()
      return
    }
    if (next.work !== undefined) await next.work
    if (next.time > untilMs) throw this.#error(`it is past ${untilMs} ms`, waitingFor)
    if (this.#fired === this.#eventsMax) {
      throw this.#error(`${this.#eventsMax} events have happened`, waitingFor)
    }
    this.#queue.remove(next)
    this.#now = next.time
    this.#fired++
    if (this.#recent.push(`${next.time} ms ${next.label}`) > RECENT_EVENTS) this.#recent.shift()
    next.fire()
  }

  #enqueue(ms: number, label: string, fire: () => void): WorldEvent {
    if (!(ms >= 0 && ms < Infinity)) throw new RangeError(`${label}: cannot happen in ${ms} ms`)
    const event = { time: this.#now + ms, sequence: this.#scheduled++, place: -1, label, fire }
    this.#queue.push(event)
    return event
  }

  #sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const cancel = this.schedule(ms, 'sleep', () => {
        signal?.removeEventListener('abort', stop)
        resolve()
      })
      const stop = () => {
        cancel()
        reject(signal!.reason)
      }
      signal?.addEventListener('abort', stop, { once: true })
    })
  }

  #error(why: string, waitingFor: string): WorldError {
    return new WorldError(
      [
        `at ${this.#now} ms ${why}, waiting for ${waitingFor}`,
        'pending:',
        ...countByLabel(this.#queue.values()),
        'most recent:',
        ...this.#recent,
      ].join('\n  '),
    )
  }
}

/** Resolves when nothing can run any more: the event loop comes to immediates only with no microtask left. */
function everyMicrotask(): Promise<void> {
  return new Promise(setImmediate)
}

function countByLabel(events: Iterable<WorldEvent>): string[] {
  const counts = new Map<string, number>()
  for (const { label } of events) counts.set(label, (counts.get(label) ?? 0) + 1)
  const lines = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
  const shown = lines.slice(0, PENDING_LINES).map(([label, count]) => `${count} × ${label}`)
  const hidden = lines.length - shown.length
  return hidden > 0 ? [...shown, `and ${hidden} others`] : shown
}
