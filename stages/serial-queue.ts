/** Runs tasks one at a time, in the order they come. */
export class SerialQueue {
  #last: Promise<unknown> = Promise.resolve()

  /** The result of `task`, which starts when all tasks before it have ended, well or badly. */
  take<T>(task: () => T | Promise<T>): Promise<T> {
    const result = this.#last.then(task)
    this.#last = result.catch(() => undefined)
    return result
  }
}
