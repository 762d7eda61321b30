/** Many listeners of one abort signal at the price of one. */

const waiting = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Calls `stop` when the signal aborts. The signal must not have aborted yet. Node compares each listener that is added or
 * removed with all others of the signal: a thousand calls under one signal make a million comparisons. Here a signal has one
 * listener, which calls all functions of a set.
 * @returns removes `stop`
 */
export function onAbort(signal: AbortSignal, stop: () => void): () => void {
  const all = stopsOf(signal)
  // A function of its own, so that the same `stop` can be added twice.
  const own = () => stop()
  all.add(own)
  return () => all.delete(own)
}

/**
 * All functions of a signal. A function of its own makes the one listener, since a listener that was made in `onAbort` would
 * keep the first `stop` of the signal, and all that it refers to, as long as the signal lives.
 */
function stopsOf(signal: AbortSignal): Set<() => void> {
  const known = waiting.get(signal)
  if (known !== undefined) return known
  const all = new Set<() => void>()
  const stopAll = () => {
    for (const each of all) each()
  }
  signal.addEventListener('abort', stopAll, { once: true })
  waiting.set(signal, all)
  return all
}
