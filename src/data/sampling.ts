/**
 * Which sequence of which source is the n-th that a run trains on: a pure function, so that a peer needs no cursor.
 * Draws come in blocks; in each block every source has its share of the places, in an order that the seed decides.
 * Each source goes through its own sequences epoch by epoch, in a new order each time, none twice before all were met.
 */
import { Random } from '../../stages/random.ts'
import { Permutation } from './permutation.ts'

/** Places of a block: shares are held to a part in so many. */
const BLOCK = 1 << 16

export interface SampledSource {
  readonly weight: number
  /** Sequences that it has. */
  readonly sequences: number
}

export interface Sample {
  readonly source: number
  readonly sequence: number
}

export class Sampling {
  readonly #random: Random
  readonly #sources: readonly SampledSource[]
  /** Places of a block, and those before it, of each source. */
  readonly #places: readonly number[]
  readonly #before: readonly number[]
  /** The last orders that were asked for: those of one step are near each other. */
  readonly #orders = new Map<string, Permutation>()

  constructor(seed: number, sources: readonly SampledSource[]) {
    this.#random = new Random(seed).stream('sequences')
    this.#sources = sources
    this.#places = apportion(sources.map(({ weight }) => weight))
    this.#before = this.#places.map((_, i) => this.#places.slice(0, i).reduce((a, b) => a + b, 0))
  }

  /** @param draw counts all sequences of all microbatches of all steps, from 0 */
  at(draw: number): Sample {
    const block = Math.floor(draw / BLOCK)
    const place = this.#order(BLOCK, 'block', block).at(draw % BLOCK)
    const source = this.#before.findLastIndex(
      (before, i) => before <= place && this.#places[i]! > 0,
    )
    const ordinal = block * this.#places[source]! + place - this.#before[source]!
    const { sequences } = this.#sources[source]!
    const epoch = Math.floor(ordinal / sequences)
    const order = this.#order(sequences, `source ${source}`, epoch)
    return { source, sequence: order.at(ordinal % sequences) }
  }

  #order(size: number, what: string, index: number): Permutation {
    const name = `${what}/${index}`
    let order = this.#orders.get(name)
    if (order === undefined) {
      if (this.#orders.size > 2 * (this.#sources.length + 1)) this.#orders.clear()
      order = new Permutation(size, this.#random.stream(what).stream(index))
      this.#orders.set(name, order)
    }
    return order
  }
}

/** Whole places of a block in proportion to the weights, at least one each; what is left goes to the largest remainders. */
function apportion(weights: readonly number[]): number[] {
  const sum = weights.reduce((a, b) => a + b, 0)
  const exact = weights.map((weight) => (weight / sum) * (BLOCK - weights.length))
  const places = exact.map((share) => 1 + Math.floor(share))
  const byRemainder = exact
    .map((share, index) => ({ index, remainder: share % 1 }))
    .sort((a, b) => b.remainder - a.remainder || a.index - b.index)
  const left = BLOCK - places.reduce((a, b) => a + b, 0)
  for (const { index } of byRemainder.slice(0, left)) places[index]!++
  return places
}
