/** Caches of recent results. */

/** Result of `make` for a key. The last `most` results are kept. */
export function recent<Key, Value>(
  made: Map<Key, Value>,
  key: Key,
  most: number,
  make: () => Value,
): Value {
  let value = made.get(key)
  if (value === undefined) {
    if (made.size >= most) made.delete(made.keys().next().value!)
    value = make()
    made.set(key, value)
  }
  return value
}

/** Kept results of a function. A process has one or two stages; a simulation has as many kinds as a run. */
const REMEMBERED = 8

/**
 * Caches a function. The stage of a successor of a lost peer reuses the graphs of the lost peer's stage.
 * @param build must depend on its arguments alone, as JSON encodes them. Its results must not be changed
 */
export function remembering<Args extends readonly unknown[], Result>(
  build: (...args: Args) => Result,
): (...args: Args) => Result {
  const built = new Map<string, Result>()
  return (...args) => recent(built, JSON.stringify(args), REMEMBERED, () => build(...args))
}
