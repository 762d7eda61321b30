/** Wakes the coordinator where it waits for something to change. */

export class ChangeSignal {
  #next = Promise.withResolvers<void>()

  /** Something has changed that the coordinator may have to act on. */
  notify(): void {
    this.#next.resolve()
  }

  /** Resolves with the first change from now on. Take it before looking at what is known, and no change is missed. */
  next(): Promise<void> {
    this.#next = Promise.withResolvers()
    return this.#next.promise
  }
}
