/**
 * What a peer runs on: its clock, which need not agree with the world's, and its processor, which may be slow or stand
 * still. Whatever a peer's code waits for is an event of its machine.
 */
import type { Clock } from '../../protocols/clock.ts'
import { type HeldEvent, type Label, type Owner, sleepBy, type World } from './world.ts'

export interface MachineOptions {
  /** Milliseconds of its clock in one of the world's. */
  readonly rate?: number | undefined
  /** What its clock says when the world's says 0. */
  readonly offsetMs?: number | undefined
}

export class Machine implements Owner {
  readonly clock: Clock
  /** How many times longer its work and its sending take than on a sound one. */
  slowness = 1
  readonly #world: World
  #rate: number
  /** Both clocks at the last change of the rate. */
  #since: { readonly world: number; readonly own: number }
  /** Events that came due while it was frozen, in order; null while it runs. */
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

  /** Makes its code do something after `ms` of its own clock. Returns what cancels it. */
  schedule(ms: number, label: Label, fire: () => void): () => void {
    return this.#world.schedule(ms / this.#rate, label, fire, this)
  }

  /** As `World.compute`, in milliseconds of its own clock. */
  compute<T>(ms: number, label: Label, work: () => T | Promise<T>): Promise<T> {
    return this.#world.compute(ms / this.#rate, label, work, this)
  }

  /** From now on its clock goes at another rate; what is scheduled already keeps its time. */
  drift(rate: number): void {
    this.#since = { world: this.#world.clock.now(), own: this.#now() }
    this.#rate = rate
  }

  /** Like SIGSTOP: its code stands still, what comes for it waits. */
  freeze(): void {
    this.#held ??= []
  }

  /** Like SIGCONT: all that has come due meanwhile happens now, in order. */
  thaw(): void {
    const held = this.#held ?? []
    this.#held = null
    for (const event of held) this.#world.release(event)
  }

  /** Nothing of its code runs any more, whatever it waited for. */
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
