/** The queue of pending events: a binary heap by time, then by the order in which events were scheduled. */

export interface QueuedEvent {
  readonly time: number
  /** Unique within a queue. */
  readonly sequence: number
  /** Index in the heap, which the queue keeps so that it can remove the event. -1 outside the queue. */
  place: number
}

export class EventQueue<E extends QueuedEvent> {
  readonly #heap: E[] = []

  get size(): number {
    return this.#heap.length
  }

  push(event: E): void {
    this.#heap.push(event)
    this.#rise(event, this.#heap.length - 1)
  }

  first(): E | undefined {
    return this.#heap[0]
  }

  /** Removes an event. Does nothing if the event is not in the queue. */
  remove(event: E): void {
    const { place } = event
    if (place === -1) return
    event.place = -1
    const last = this.#heap.pop()!
    if (last === event) return
    // The last leaf fills the gap. The leaf may come from another branch, so it may have to move up or down.
    this.#sink(last, place)
    this.#rise(last, last.place)
  }

  /** All events, in no particular order. */
  values(): Iterable<E> {
    return this.#heap.values()
  }

  #rise(event: E, from: number): void {
    let place = from
    while (place > 0) {
      const parent = this.#heap[(place - 1) >>> 1]!
      if (!isBefore(event, parent)) break
      const above = parent.place
      this.#put(parent, place)
      place = above
    }
    this.#put(event, place)
  }

  #sink(event: E, from: number): void {
    let place = from
    for (;;) {
      const left = this.#heap[2 * place + 1]
      if (left === undefined) break
      const right = this.#heap[2 * place + 2]
      const child = right !== undefined && isBefore(right, left) ? right : left
      if (!isBefore(child, event)) break
      const below = child.place
      this.#put(child, place)
      place = below
    }
    this.#put(event, place)
  }

  #put(event: E, place: number): void {
    this.#heap[place] = event
    event.place = place
  }
}

function isBefore(a: QueuedEvent, b: QueuedEvent): boolean {
  return a.time < b.time || (a.time === b.time && a.sequence < b.sequence)
}
