/**
 * Pool of memory for the kept values of forward. Backward returns the memory. In a small stage, allocation and collection for
 * every microbatch would take long beside the work. Memory without a backward goes to the garbage collector.
 */
import type { Kept } from './stage.ts'

export class KeptRoom {
  readonly #make: () => Kept
  /** Free memory. At most as many entries as microbatches were between forward and backward at once. */
  readonly #free: Kept[] = []
  readonly #lent = new WeakSet<Kept>()
  readonly #spent = new WeakSet<Kept>()

  constructor(make: () => Kept) {
    this.#make = make
  }

  /** Memory with undefined contents. */
  take(): Kept {
    // A new object for each microbatch, so that a returned object can be recognized.
    const kept = { ...(this.#free.pop() ?? this.#make()) }
    this.#lent.add(kept)
    return kept
  }

  /** @throws Error if the memory was returned, and may hold the values of another microbatch */
  check(kept: Kept): void {
    if (this.#spent.has(kept)) throw new Error('what was kept of this forward is spent')
  }

  /** Returns memory to the pool. Memory from elsewhere, such as a copy from another thread, is ignored. */
  give(kept: Kept): void {
    if (!this.#lent.delete(kept)) return
    this.#spent.add(kept)
    this.#free.push(kept)
  }
}
