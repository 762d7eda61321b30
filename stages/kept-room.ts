/**
 * Memory for what a forward keeps, used again after its backward: in a small stage, to allocate and collect it for every
 * microbatch takes long beside the work itself. What no backward comes for is the garbage collector's.
 */
import type { Kept } from './stage.ts'

export class KeptRoom {
  readonly #make: () => Kept
  /** As many as were between their forward and their backward at once, at most. */
  readonly #free: Kept[] = []
  readonly #lent = new WeakSet<Kept>()
  readonly #spent = new WeakSet<Kept>()

  constructor(make: () => Kept) {
    this.#make = make
  }

  /** With whatever an earlier forward has left in it. */
  take(): Kept {
    // An object of its own each time, so that one that was given back is known.
    const kept = { ...(this.#free.pop() ?? this.#make()) }
    this.#lent.add(kept)
    return kept
  }

  /** @throws Error if it was given back, and may hold what another forward has kept since */
  check(kept: Kept): void {
    if (this.#spent.has(kept)) throw new Error('what was kept of this forward is spent')
  }

  /** Nobody reads it any more. One that was not taken here, such as a copy from another thread, is passed over. */
  give(kept: Kept): void {
    if (!this.#lent.delete(kept)) return
    this.#spent.add(kept)
    this.#free.push(kept)
  }
}
