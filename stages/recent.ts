/** Results of the latest calls, for those who will ask again. */

/** What `make` gave for this key, if it was among the last `most` that were made. */
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

/** What one function gave: a process hosts a stage or two, a laboratory as many kinds as a run has. */
const REMEMBERED = 8

/**
 * The same function, which gives the same result again for the same arguments: a stage that is built for whoever comes
 * after a peer that was lost has those of before.
 * @param build depends on nothing but its arguments as JSON has them; nobody changes what it gives
 */
export function remembering<Args extends readonly unknown[], Result>(
  build: (...args: Args) => Result,
): (...args: Args) => Result {
  const built = new Map<string, Result>()
  return (...args) => recent(built, JSON.stringify(args), REMEMBERED, () => build(...args))
}
