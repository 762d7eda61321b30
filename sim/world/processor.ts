/**
 * Cores that processes share, in virtual time. All work that is under way gets the same share of them, and none more than
 * one core, as an operating system deals them out: seven processes on two cores do not compute in parallel.
 */
import type { Label, World } from './world.ts'

interface Task {
  /** What the processor has done for every task when this one is done. */
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
  /** By when they are done, then by when they came. */
  #tasks: Task[] = []
  /** Milliseconds of work that each task under way has had since the processor was idle, until `#at`. */
  #served = 0
  #at = 0
  #cancel: () => void = () => {}

  /** @param cores need not be whole: two that slow each other down may be worth 1.6. Infinity: nobody waits. */
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

  /** Work of a process that has ended is not done, and takes nothing from others. */
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

  /** Brings what has been done up to now. */
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
    // Sums of times may be off by a rounding.
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

/** One that shares the cores, as many threads as it may have. */
export class Process {
  readonly #world: World
  readonly #host: Host
  #ended = false

  constructor(world: World, host: Host) {
    this.#world = world
    this.#host = host
  }

  /** Resolves when so many milliseconds of one core's work are done. */
  async compute(ms: number): Promise<void> {
    if (!this.#ended && ms > 0) await this.#host.add(this, ms)
  }

  /** Really works, while time stands still; the outcome is there when the processor has done so much work for it. */
  async run<T>(ms: number, label: Label, work: () => T | Promise<T>): Promise<T> {
    const outcome = this.#world.compute(0, label, work)
    // A failure, too, is known at its time and not before.
    outcome.catch(() => {})
    await this.compute(ms)
    return outcome
  }

  /** What it computes is over now, and takes no time from now on. */
  end(): void {
    this.#ended = true
    this.#host.end(this)
  }
}
