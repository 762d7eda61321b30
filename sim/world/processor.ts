/**
 * Cores that processes share, in virtual time. All tasks under way get the same share of the cores, but at most one core
 * each, as an operating system schedules threads.
 */
import type { Label, World } from './world.ts'

interface Task {
  /** Value of the processor's `#served` at which the task is done. */
  readonly due: number
  readonly process: Process
  readonly done: () => void
}

/**
 * @example
 * ```ts
 * const processor = new Processor(world, 2)
 * const process = processor.start()
 * await process.compute(100)
 * ```
 */
export class Processor {
  readonly #world: World
  readonly #cores: number
  /** Ordered by the time at which they are done, then by arrival. */
  #tasks: Task[] = []
  /** Milliseconds of work that each task has had at time `#at`, counted since the processor was last idle. */
  #served = 0
  #at = 0
  #cancel: () => void = () => {}

  /** @param cores need not be whole: two cores that slow each other down may be worth 1.6. Infinity: no task waits. */
  constructor(world: World, cores: number) {
    if (!(cores > 0)) throw new RangeError(`a processor of ${cores} cores`)
    this.#world = world
    this.#cores = cores
  }

  start(): Process {
    return new Process(this.#world, {
      add: (process, ms) => this.#add(process, ms),
      end: (process) => this.#end(process),
    })
  }

  #add(process: Process, ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#serve()
    const due = this.#served + ms
    const after = this.#tasks.findIndex((task) => task.due > due)
    this.#tasks.splice(after < 0 ? this.#tasks.length : after, 0, { due, process, done: resolve })
    this.#next()
    return promise
  }

  /** Drops the tasks of a process that has ended: they take no time from others. */
  #end(process: Process): void {
    this.#serve()
    const ended = this.#tasks.filter((task) => task.process === process)
    this.#tasks = this.#tasks.filter((task) => task.process !== process)
    this.#next()
    for (const { done } of ended) done()
  }

  get #rate(): number {
    return Math.min(1, this.#cores / this.#tasks.length)
  }

  /** Brings `#served` up to now. */
  #serve(): void {
    const now = this.#world.clock.now()
    if (this.#tasks.length === 0) this.#served = 0
    else this.#served += (now - this.#at) * this.#rate
    this.#at = now
  }

  #next(): void {
    this.#cancel()
    const next = this.#tasks[0]
    if (next === undefined) return
    // Rounding may make the difference negative.
    const ms = Math.max(0, next.due - this.#served) / this.#rate
    this.#cancel = this.#world.schedule(ms, 'processor', () => {
      this.#served = next.due
      this.#at = this.#world.clock.now()
      this.#tasks.shift()
      this.#next()
      next.done()
    })
  }
}

interface Host {
  add(process: Process, ms: number): Promise<void>
  end(process: Process): void
}

/** A process on the shared cores, with any number of threads. */
export class Process {
  readonly #world: World
  readonly #host: Host
  #ended = false

  constructor(world: World, host: Host) {
    this.#world = world
    this.#host = host
  }

  /** Resolves when `ms` of one core's work are done. */
  async compute(ms: number): Promise<void> {
    if (!this.#ended && ms > 0) await this.#host.add(this, ms)
  }

  /** Does real work while time stands still. The outcome is there when the processor has done `ms` of work for it. */
  async run<T>(ms: number, label: Label, work: () => T | Promise<T>): Promise<T> {
    const outcome = this.#world.compute(0, label, work)
    // A failure of the work is known at that time, too.
    outcome.catch(() => {})
    await this.compute(ms)
    return outcome
  }

  /** Ends the process. Its tasks resolve at once, and later ones take no time. */
  end(): void {
    this.#ended = true
    this.#host.end(this)
  }
}
