/** Many who wait for one signal. */

const waiting = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Calls `stop` when the signal aborts, which it has not yet. Node compares a listener that is added or removed with all
 * others of its signal, so that a thousand questions under one signal are a million comparisons: here a signal has one
 * listener, and a set of those who wait.
 * @returns ends the waiting
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
  // One of its own, so that the same function may wait twice.
  const own = () => stop()
  all.add(own)
  return () => all.delete(own)
}
