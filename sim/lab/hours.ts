/**
 * The hours of a scenario. A small model's iteration stands for one of the model that is meant, which takes longer:
 * while the pipeline is whole, an hour goes by in so much less virtual time. While a stage has no holder, nothing is
 * trained and what goes on (detection, a handshake, weights on their way) takes the time that it takes: then both are
 * the same.
 */
import type { World } from '../world.ts'

const HOUR_MS = 3_600_000

interface Due {
  readonly hours: number
  readonly fire: () => void
}

export class Hours {
  readonly #world: World
  readonly #fold: number
  /** Stages without a holder. */
  readonly #empty = new Set<number>()
  /** When the pace changed last. */
  #since = { virtualMs: 0, hours: 0 }
  readonly #due: Due[] = []
  #cancel: (() => void) | undefined

  /** @param fold seconds of the scenario in one of virtual time, while the pipeline is whole */
  constructor(world: World, fold: number) {
    this.#world = world
    this.#fold = fold
  }

  get now(): number {
    const elapsed = this.#world.clock.now() - this.#since.virtualMs
    return this.#since.hours + (elapsed * this.#pace) / HOUR_MS
  }

  /** Makes something happen then; what lies in the past happens at once. Of the same hour, in the order of the calls. */
  at(hours: number, fire: () => void): void {
    const place = this.#due.findIndex((each) => each.hours > hours)
    this.#due.splice(place === -1 ? this.#due.length : place, 0, { hours, fire })
    this.#schedule()
  }

  /** A stage has lost its last holder. */
  emptied(stage: number): void {
    this.#change(() => this.#empty.add(stage))
  }

  /** A stage has a holder. */
  held(stage: number): void {
    this.#change(() => this.#empty.delete(stage))
  }

  get #pace(): number {
    return this.#empty.size > 0 ? 1 : this.#fold
  }

  #change(change: () => void): void {
    const hours = this.now
    change()
    this.#since = { virtualMs: this.#world.clock.now(), hours }
    this.#schedule()
  }

  #schedule(): void {
    this.#cancel?.()
    const [next] = this.#due
    if (next === undefined) return
    const ms = (Math.max(0, next.hours - this.now) * HOUR_MS) / this.#pace
    this.#cancel = this.#world.schedule(ms, 'an hour has come', () => {
      this.#due.shift()
      next.fire()
      this.#schedule()
    })
  }
}
