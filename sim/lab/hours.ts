/**
 * The hours of a scenario. An iteration of a small model stands for one of the intended model, which takes longer. Hours
 * therefore pass in less virtual time. In an iteration with a loss, only the usual duration of an iteration is scaled. The
 * additional time counts unscaled: detection, agreement, handshakes and transfers of weights.
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
  /** True from a loss until the end of the iteration. */
  #isDisturbed = false
  /** Time of the last change of pace. */
  #since = { virtualMs: 0, hours: 0 }
  /** Virtual time at which the last iteration ended. */
  #madeMs = 0
  /** Number and total duration of iterations without a loss. The first iteration is assumed to be one. */
  #calm = { count: 1, ms: 0 }
  readonly #due: Due[] = []
  #cancel: (() => void) | undefined

  /** @param fold seconds of the scenario in one second of virtual time */
  constructor(world: World, fold: number) {
    this.#world = world
    this.#fold = fold
  }

  get now(): number {
    const elapsed = this.#world.clock.now() - this.#since.virtualMs
    return this.#since.hours + (elapsed * this.#pace) / HOUR_MS
  }

  /**
   * Called after the first iteration. The time until then, while the swarm forms, counts as hour 0.
   * @param hours of an undisturbed iteration, which the first iteration counts
   */
  begin(hours: number): void {
    this.#hasBegun = true
    this.#madeMs = this.#world.clock.now()
    this.#calm.ms = (hours * HOUR_MS) / this.#fold
    this.#since = { virtualMs: this.#madeMs, hours }
    this.#schedule()
  }

  /** Schedules a call at an hour. A call for a past hour happens at once. Calls for the same hour keep their order. */
  at(hours: number, fire: () => void): void {
    const place = this.#due.findIndex((each) => each.hours > hours)
    this.#due.splice(place === -1 ? this.#due.length : place, 0, { hours, fire })
    this.#schedule()
  }

  /** Called when a stage has lost its last holder. */
  lost(): void {
    this.#change(() => {
      this.#isDisturbed = true
      return 0
    })
  }

  /** Called after each iteration but the first. */
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
      // The whole iteration has counted unscaled, so the scaled part of its usual duration is added here.
      const usualMs = Math.min(took, this.#calm.ms / this.#calm.count)
      return (usualMs * (this.#fold - 1)) / HOUR_MS
    })
  }

  /** Called after an evaluation of the loss, whose time is no part of the next iteration. */
  evaluated(): void {
    this.#madeMs = this.#world.clock.now()
  }

  get #pace(): number {
    if (!this.#hasBegun) return 0
    return this.#isDisturbed ? 1 : this.#fold
  }

  /** @param change gives the hours that pass at once */
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
