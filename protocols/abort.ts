/** Many listeners of one abort signal at the price of one. */

const waiting = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Calls `stop` when the signal aborts. The signal must not have aborted yet. Node compares each listener that is added or
 * removed with all others of the signal: a thousand calls under one signal make a million comparisons. Here a signal has one
 * listener, which calls all functions of a set.
 * @returns removes `stop`
 */
export function onAbort(signal: AbortSignal, stop: () => void): () => void {
  let stops = waiting.get(signal)
  if (stops === undefined) {
    const all = new Set<() => void>()
    const stopAll = () => {
      for (const each of all) each()
    }
    signal.addEventListener('abort', stopAll, { once: true })
    waiting.set(signal, all)
    stops = all
  }
  const all = stops
  // A function of its own, so that the same `stop` can be added twice.
  const own = () => stop()
  all.add(own)
  return () => all.delete(own)
}
