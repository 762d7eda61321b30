/**
 * The training of byte-level BPE on counted pieces of text. In each round the most frequent pair of tokens becomes a new
 * token. If two pairs are equally frequent, the one with the smaller ids is taken. Hugging Face's trainer has the same
 * rules, so that the same text gives the same merges.
 */

/** Upper bound of token ids. Below it, a pair of ids fits into one number. */
export const MAX_VOCABULARY = 1 << 20

/** A trained vocabulary. */
export interface Learnt {
  /** Tokens in the order of their ids, from the first symbol on. */
  readonly tokens: readonly string[]
  readonly merges: readonly (readonly [string, string])[]
}

/**
 * Learns merges until the vocabulary has `size` tokens, or no pair is left.
 * @param pieces pieces of text, written in the letters that stand for bytes, each with its number of occurrences
 * @param symbols the letters, in the order of their ids
 * @param firstId id of the first symbol
 * @param size largest size of the vocabulary, with the ids below `firstId`
 */
export function learnMerges(
  pieces: Iterable<readonly [string, number]>,
  symbols: readonly string[],
  firstId: number,
  size: number,
): Learnt {
  const tokens = [...symbols]
  const ids = new Map(tokens.map((token, index) => [token, firstId + index]))
  const words: Word[] = []
  for (const [piece, count] of pieces) {
    words.push({ ids: Array.from(piece, (letter) => ids.get(letter)!), count })
  }
  const pairs = countPairs(words)
  const heap = new Heap()
  for (const [pair, { count }] of pairs) heap.push({ pair, count })
  const merges: [string, string][] = []
  const nameOf = (id: number) => tokens[id - firstId]!
  while (firstId + tokens.length < size) {
    const top = heap.pop()
    if (top === undefined) break
    const { count } = pairs.get(top.pair)!
    if (count < 1) continue
    if (count !== top.count) {
      heap.push({ pair: top.pair, count })
      continue
    }
    const left = Math.floor(top.pair / MAX_VOCABULARY)
    const right = top.pair % MAX_VOCABULARY
    const name = nameOf(left) + nameOf(right)
    let id = ids.get(name)
    if (id === undefined) {
      id = firstId + tokens.length
      tokens.push(name)
      ids.set(name, id)
    }
    merges.push([nameOf(left), nameOf(right)])
    for (const pair of mergeIn(words, pairs, left, right, id)) {
      heap.push({ pair, count: pairs.get(pair)!.count })
    }
  }
  return { tokens, merges }
}

interface Word {
  ids: number[]
  readonly count: number
}

/** Number of occurrences of a pair, and the words that contain it or once contained it. */
interface Pair {
  count: number
  readonly words: Set<number>
}

function countPairs(words: readonly Word[]): Map<number, Pair> {
  const pairs = new Map<number, Pair>()
  words.forEach(({ ids, count }, word) => {
    for (let i = 0; i + 1 < ids.length; i++) add(pairs, ids[i]!, ids[i + 1]!, count, word)
  })
  return pairs
}

function add(
  pairs: Map<number, Pair>,
  left: number,
  right: number,
  count: number,
  word: number,
): number {
  const key = left * MAX_VOCABULARY + right
  let pair = pairs.get(key)
  if (pair === undefined) {
    pair = { count: 0, words: new Set() }
    pairs.set(key, pair)
  }
  pair.count += count
  if (count > 0) pair.words.add(word)
  return key
}

/** Replaces all occurrences of a pair by `id`. Gives the pairs that occur more often than before. */
function mergeIn(
  words: readonly Word[],
  pairs: Map<number, Pair>,
  left: number,
  right: number,
  id: number,
): Set<number> {
  const risen = new Set<number>()
  const merged = pairs.get(left * MAX_VOCABULARY + right)!
  for (const index of merged.words) {
    const word = words[index]!
    const { ids, count } = word
    const next: number[] = []
    for (let i = 0; i < ids.length; i++) {
      if (ids[i] !== left || ids[i + 1] !== right) {
        next.push(ids[i]!)
        continue
      }
      const before = next.at(-1)
      if (before !== undefined) {
        add(pairs, before, left, -count, index)
        risen.add(add(pairs, before, id, count, index))
      }
      const after = ids[i + 2]
      if (after !== undefined) {
        add(pairs, right, after, -count, index)
        risen.add(add(pairs, id, after, count, index))
      }
      next.push(id)
      i++
    }
    word.ids = next
  }
  merged.count = 0
  merged.words.clear()
  return risen
}

interface Candidate {
  readonly pair: number
  readonly count: number
}

function isBefore(a: Candidate, b: Candidate): boolean {
  return a.count > b.count || (a.count === b.count && a.pair < b.pair)
}

/** Binary heap with the most frequent pair on top. A count may be out of date: it is the one at the time of the push. */
class Heap {
  readonly #items: Candidate[] = []

  push(item: Candidate): void {
    const items = this.#items
    let at = items.length
    items.push(item)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(item, items[parent]!)) break
      items[at] = items[parent]!
      at = parent
    }
    items[at] = item
  }

  pop(): Candidate | undefined {
    const items = this.#items
    const top = items[0]
    const last = items.pop()
    if (items.length === 0 || last === undefined) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= items.length) break
      if (child + 1 < items.length && isBefore(items[child + 1]!, items[child]!)) child++
      if (!isBefore(items[child]!, last)) break
      items[at] = items[child]!
      at = child
    }
    items[at] = last
    return top
  }
}
