/**
 * The hours of a scenario. A small model's iteration stands for one of the model that is meant, which takes longer: hours go by
 * in so much less virtual time. In an iteration in which a stage is lost, only what an iteration usually takes counts so; what
 * it takes beyond that (detection, agreement, handshakes, weights on their way) takes the time that it takes.
 */
import { HOUR_MS } from '../../protocols/clock.ts'
import type { World } from '../world/world.ts'

interface Due {
  readonly hours: number
  readonly fire: () => void
}

export class Hours {
  readonly #world: World
  readonly #fold: number
  #hasBegun = false
  /** From a loss until the end of the iteration. */
  #isDisturbed = false
  /** When the pace changed last. */
  #since = { virtualMs: 0, hours: 0 }
  /** When the last iteration ended. */
  #madeMs = 0
  /** Iterations in which nothing was lost, and what they took; one is taken for granted. */
  #calm = { count: 1, ms: 0 }
  readonly #due: Due[] = []
  #cancel: (() => void) | undefined

  /** @param fold seconds of the scenario in one of virtual time */
  constructor(world: World, fold: number) {
    this.#world = world
    this.#fold = fold
  }

  get now(): number {
    const elapsed = this.#world.clock.now() - this.#since.virtualMs
    return this.#since.hours + (elapsed * this.#pace) / HOUR_MS
  }

  /**
   * The first iteration has been made: until now, while the swarm came together, it was hour 0.
   * @param hours of an undisturbed iteration, which it is said to have taken
   */
  begin(hours: number): void {
    this.#hasBegun = true
    this.#madeMs = this.#world.clock.now()
    this.#calm.ms = (hours * HOUR_MS) / this.#fold
    this.#since = { virtualMs: this.#madeMs, hours }
    this.#schedule()
  }

  /** Makes something happen then; what lies in the past happens at once. Of the same hour, in the order of the calls. */
  at(hours: number, fire: () => void): void {
    const place = this.#due.findIndex((each) => each.hours > hours)
    this.#due.splice(place === -1 ? this.#due.length : place, 0, { hours, fire })
    this.#schedule()
  }

  /** A stage has lost its last holder. */
  lost(): void {
    this.#change(() => {
      this.#isDisturbed = true
      return 0
    })
  }

  /** An iteration has been made, not the first. */
  made(): void {
    const now = this.#world.clock.now()
    const took = now - this.#madeMs
    this.#madeMs = now
    this.#change(() => {
      if (!this.#isDisturbed) {
        this.#calm.count++
        this.#calm.ms += took
        return 0
      }
      this.#isDisturbed = false
      // It has counted 1:1; of what it usually takes, the rest is missing.
      const usualMs = Math.min(took, this.#calm.ms / this.#calm.count)
      return (usualMs * (this.#fold - 1)) / HOUR_MS
    })
  }

  /** After an iteration the loss has been looked at, which is no part of the next one. */
  evaluated(): void {
    this.#madeMs = this.#world.clock.now()
  }

  get #pace(): number {
    if (!this.#hasBegun) return 0
    return this.#isDisturbed ? 1 : this.#fold
  }

  /** @param change gives the hours that go by at once */
  #change(change: () => number): void {
    const { now } = this
    const more = change()
    this.#since = { virtualMs: this.#world.clock.now(), hours: now + more }
    this.#schedule()
  }

  #schedule(): void {
    this.#cancel?.()
    const [next] = this.#due
    if (next === undefined || !this.#hasBegun) return
    const ms = (Math.max(0, next.hours - this.now) * HOUR_MS) / this.#pace
    this.#cancel = this.#world.schedule(ms, 'an hour has come', () => {
      this.#due.shift()
      next.fire()
      this.#schedule()
    })
  }
}
