/**
 * A discrete-event simulation of time in one thread. Code runs in it unchanged: it awaits sleeps, messages and
 * computations. Virtual time stands still while any code can still run, then jumps to the next event. A day takes as
 * long as its events take, and the same seed always gives the same day.
 *
 * Every wait must end in an event of the world. Work that takes real time (a worker thread, a file) must go through
 * `compute`: the world does not wait for any other promise.
 */
import { onAbort } from '../../protocols/abort.ts'
import type { Clock } from '../../protocols/clock.ts'
import { Random } from '../../stages/random.ts'
import { EventQueue, type QueuedEvent } from './event-queue.ts'

export interface WorldOptions {
  readonly seed: string | number
  /** Largest number of events in the life of the world. It ends a loop that makes events without end. */
  readonly eventsMax?: number
}

export interface RunOptions {
  /** Name of the awaited outcome, for the error if it never comes. */
  readonly waitingFor: string
  /** Virtual time at which `run` gives up. */
  readonly untilMs?: number
}

/** Events alone take about ten seconds of real time for so many. */
const EVENTS_MAX = 10_000_000

/** Past events in a WorldError: enough to see the last exchange between two peers. */
const RECENT_EVENTS = 12

/** Lines about pending events in a WorldError. There may be thousands of events. */
const PENDING_LINES = 12

/** Events between two turns of Node's event loop. A turn takes longer than an event. */
const BATCH_EVENTS = 64

/** Name of an event in a WorldError. It becomes text only there. */
export type Label = string | { toString(): string }

/** Owner of the code that an event runs. The owner may keep a due event and release it later. */
export interface Owner {
  /** True if the owner keeps the event, which then does not happen now. */
  holds(event: HeldEvent): boolean
}

export interface HeldEvent {
  readonly cancelled: boolean
}

class WorldEvent implements QueuedEvent, HeldEvent {
  time: number
  sequence: number
  place = -1
  cancelled = false
  readonly label: Label
  readonly fire: () => void
  readonly owner: Owner | undefined
  /** Real work that must end before the event. It never rejects. */
  work: Promise<void> | undefined = undefined

  constructor(time: number, sequence: number, label: Label, fire: () => void, owner?: Owner) {
    this.time = time
    this.sequence = sequence
    this.label = label
    this.fire = fire
    this.owner = owner
  }
}

/** The awaited outcome cannot come any more, or not within a bound. The message lists the pending events. */
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
  /** Virtual time in milliseconds, from 0. */
  readonly clock: Clock
  /** Source of all random draws, by named streams. */
  readonly random: Random
  readonly #eventsMax: number
  readonly #queue = new EventQueue<WorldEvent>()
  readonly #working = new Set<Promise<void>>()
  /** A ring buffer: event number n lies at n modulo the length. */
  readonly #recent: WorldEvent[] = []
  #now = 0
  #scheduled = 0
  #fired = 0
  #running = false

  constructor({ seed, eventsMax = EVENTS_MAX }: WorldOptions) {
    this.#eventsMax = eventsMax
    this.random = new Random(seed)
    this.clock = {
      now: () => this.#now,
      sleep: sleepBy((ms, fire) => this.schedule(ms, 'sleep', fire)),
    }
  }

  /** Number of events that have happened. */
  get fired(): number {
    return this.#fired
  }

  /** Number of events that will happen unless cancelled. */
  get pending(): number {
    return this.#queue.size
  }

  /**
   * Calls `fire` after `ms` of virtual time. Events of the same time happen in the order in which they were scheduled.
   * @returns a function that cancels the event
   */
  schedule(ms: number, label: Label, fire: () => void, owner?: Owner): () => void {
    const event = this.#enqueue(ms, label, fire, owner)
    return () => {
      event.cancelled = true
      this.#queue.remove(event)
    }
  }

  /** Makes an event that its owner held due now, after all events that are due already. */
  release(held: HeldEvent): void {
    const event = held as WorldEvent
    if (event.cancelled) return
    event.time = this.#now
    event.sequence = this.#scheduled++
    this.#queue.push(event)
  }

  /**
   * Does real work while virtual time stands still. The outcome is there after `ms` of virtual time. The event takes its
   * place in the queue before the work starts. Otherwise events of equal time would happen in the order in which real
   * work ends, and the same seed would give different histories.
   */
  async compute<T>(
    ms: number,
    label: Label,
    work: () => T | Promise<T>,
    owner?: Owner,
  ): Promise<T> {
    const due = Promise.withResolvers<void>()
    const event = this.#enqueue(ms, label, due.resolve, owner)
    const outcome = (async () => work())()
    const over = outcome.then(
      () => {},
      () => {},
    )
    event.work = over
    this.#working.add(over)
    // A failure of the work is known after `ms`, too.
    await due.promise
    return await outcome
  }

  /**
   * Advances virtual time until `outcome` is settled, and returns its value. Time stops there until the next call.
   * @throws WorldError if `outcome` cannot settle any more, or not within the bounds
   */
  async run<T>(outcome: Promise<T>, { waitingFor, untilMs = Infinity }: RunOptions): Promise<T> {
    if (this.#running) throw new Error('the world is running already')
    this.#running = true
    let settled = false
    const settle = () => {
      settled = true
    }
    outcome.then(settle, settle)
    const next = () => (settled ? null : this.#step(waitingFor, untilMs))
    try {
      while (!settled) await batch(next)
      return await outcome
    } finally {
      this.#running = false
    }
  }

  /** Runs one event. Returns a promise instead if real work must end first: then the queue is looked at again. */
  #step(waitingFor: string, untilMs: number): Promise<unknown> | undefined {
    const next = this.#queue.first()
    if (next === undefined) {
      if (this.#working.size > 0) return this.#workOver()
      throw this.#error('nothing is left to happen', waitingFor)
    }
    if (next.time > this.#now && this.#working.size > 0) return this.#workOver()
    if (next.work !== undefined) {
      const { work } = next
      next.work = undefined
      return work
    }
    if (next.time > untilMs) throw this.#error(`it is past ${untilMs} ms`, waitingFor)
    if (this.#fired >= this.#eventsMax) {
      throw this.#error(`${this.#eventsMax} events have happened`, waitingFor)
    }
    this.#queue.remove(next)
    this.#now = next.time
    if (next.owner?.holds(next)) return
    this.#recent[this.#fired++ % RECENT_EVENTS] = next
    next.fire()
    return
  }

  async #workOver(): Promise<void> {
    await Promise.all(this.#working)
    this.#working.clear()
  }

  #enqueue(ms: number, label: Label, fire: () => void, owner?: Owner): WorldEvent {
    if (!(ms >= 0 && ms < Infinity)) throw new RangeError(`${label}: cannot happen in ${ms} ms`)
    const event = new WorldEvent(this.#now + ms, this.#scheduled++, label, fire, owner)
    this.#queue.push(event)
    return event
  }

  #error(why: string, waitingFor: string): WorldError {
    const oldest = Math.max(0, this.#fired - RECENT_EVENTS)
    const recent = Array.from({ length: this.#fired - oldest }, (_, i) => {
      const { time, label } = this.#recent[(oldest + i) % RECENT_EVENTS]!
      return `${time} ms ${label}`
    })
    return new WorldError(
      [
        `at ${this.#now} ms ${why}, waiting for ${waitingFor}`,
        'pending:',
        ...countByLabel(this.#queue.values()),
        'most recent:',
        ...recent,
      ].join('\n  '),
    )
  }
}

/** Makes a clock's `sleep` from a function that calls back after so many milliseconds unless cancelled. */
export function sleepBy(
  schedule: (ms: number, fire: () => void) => () => void,
): (ms: number, signal?: AbortSignal) => Promise<void> {
  return (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal === undefined) {
        schedule(ms, resolve)
        return
      }
      if (signal.aborted) return reject(signal.reason)
      const cancel = schedule(ms, () => {
        remove()
        resolve()
      })
      const remove = onAbort(signal, () => {
        cancel()
        reject(signal.reason)
      })
    })
}

/**
 * Calls `next` up to BATCH_EVENTS times, each time when no other code can run: Node runs every microtask between two
 * immediates. Ends early if `next` gives null. Resolves with the promise if `next` gives one.
 */
function batch(next: () => Promise<unknown> | null | undefined): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let left = BATCH_EVENTS
    const turn = () => {
      if (left === 0) return
      left--
      try {
        const awaited = next()
        if (awaited === undefined && left > 0) return
        left = 0
        resolve(awaited)
      } catch (error) {
        left = 0
        reject(error)
      }
    }
    for (let i = 0; i < BATCH_EVENTS; i++) setImmediate(turn)
  })
}

function countByLabel(events: Iterable<WorldEvent>): string[] {
  const counts = new Map<string, number>()
  for (const { label } of events) counts.set(`${label}`, (counts.get(`${label}`) ?? 0) + 1)
  const lines = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
  const shown = lines.slice(0, PENDING_LINES).map(([label, count]) => `${count} × ${label}`)
  const hidden = lines.length - shown.length
  return hidden > 0 ? [...shown, `and ${hidden} others`] : shown
}
