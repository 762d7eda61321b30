/**
 * The machine of one peer: a clock, which may differ from the world's, and a processor, which may be slow or frozen. All
 * waits of a peer's code are events of its machine.
 */
import type { Clock } from '../../protocols/clock.ts'
import { type HeldEvent, type Label, type Owner, sleepBy, type World } from './world.ts'

export interface MachineOptions {
  /** Milliseconds of this clock in one millisecond of virtual time. */
  readonly rate?: number | undefined
  /** Reading of this clock at virtual time 0, in milliseconds. */
  readonly offsetMs?: number | undefined
}

export class Machine implements Owner {
  readonly clock: Clock
  /** Factor by which work and sending take longer than on a sound machine. */
  slowness = 1
  readonly #world: World
  #rate: number
  /** Readings of both clocks at the last change of the rate. */
  #since: { readonly world: number; readonly own: number }
  /** Events that came due while the machine was frozen, in order. Null while it runs. */
  #held: HeldEvent[] | null = null
  #ended = false

  constructor(world: World, { rate = 1, offsetMs = 0 }: MachineOptions = {}) {
    this.#world = world
    this.#rate = rate
    this.#since = { world: 0, own: offsetMs }
    this.clock = {
      now: () => this.#now(),
      sleep: sleepBy((ms, fire) => this.schedule(ms, 'sleep', fire)),
    }
  }

  get frozen(): boolean {
    return this.#held !== null
  }

  /** Calls `fire` after `ms` of this clock. Returns a function that cancels the event. */
  schedule(ms: number, label: Label, fire: () => void): () => void {
    return this.#world.schedule(ms / this.#rate, label, fire, this)
  }

  /** As `World.compute`, in milliseconds of this clock. */
  compute<T>(ms: number, label: Label, work: () => T | Promise<T>): Promise<T> {
    return this.#world.compute(ms / this.#rate, label, work, this)
  }

  /** Changes the rate of this clock from now on. Scheduled events keep their time. */
  drift(rate: number): void {
    this.#since = { world: this.#world.clock.now(), own: this.#now() }
    this.#rate = rate
  }

  /** Stops all code of the machine, like SIGSTOP. Its events wait. */
  freeze(): void {
    this.#held ??= []
  }

  /** Resumes the code, like SIGCONT. Events that came due meanwhile happen now, in order. */
  thaw(): void {
    const held = this.#held ?? []
    this.#held = null
    for (const event of held) this.#world.release(event)
  }

  /** Ends the machine: none of its events happens any more. */
  end(): void {
    this.#ended = true
    this.#held = null
  }

  holds(event: HeldEvent): boolean {
    if (this.#ended) return true
    if (this.#held === null) return false
    this.#held.push(event)
    return true
  }

  #now(): number {
    return this.#since.own + (this.#world.clock.now() - this.#since.world) * this.#rate
  }
}
