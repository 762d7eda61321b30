/** Graphs that are kept: a stage that is built again, for a peer that comes after one that was lost, has those of before. */

/** A process hosts a stage or two, a laboratory as many kinds as a run has. */
const MOST = 8

/**
 * The same function, which gives the same result again for the same arguments.
 * @param make depends on nothing but its arguments as JSON has them; nobody changes what it gives
 */
export function remembering<Args extends readonly unknown[], Result>(
  make: (...args: Args) => Result,
): (...args: Args) => Result {
  const results = new Map<string, Result>()
  return (...args) => {
    const key = JSON.stringify(args)
    const result = results.get(key) ?? make(...args)
    // In the order of last use: the first goes.
    results.delete(key)
    results.set(key, result)
    if (results.size > MOST) results.delete(results.keys().next().value!)
    return result
  }
}
