/**
 * Which sequence of which source is the n-th that a run trains on: a pure function, so that a peer needs no cursor.
 * Draws come in blocks; in each block every source has its share of the places, in an order that the seed decides.
 * Each source goes through its own sequences epoch by epoch, in a new order each time, none twice before all were met.
 */
import { Random } from '../../stages/random.ts'
import { recent } from '../../stages/recent.ts'
import { Permutation } from './permutation.ts'

/** Places of a block: shares are held to a part in so many. */
const BLOCK = 1 << 12

export interface SampledSource {
  readonly weight: number
  /** Sequences that it has. */
  readonly sequences: number
}

export interface Sample {
  readonly source: number
  readonly sequence: number
}

/** By place: whose it is, and how many places of the same source are before it in the block. */
interface Block {
  readonly sources: Uint16Array
  readonly ranks: Uint16Array
}

export class Sampling {
  readonly #random: Random
  readonly #sources: readonly SampledSource[]
  /** Of a block, for each source. */
  readonly #places: readonly number[]
  /** The last that were asked for: draws of one step are near each other. */
  readonly #blocks = new Map<number, Block>()
  readonly #orders = new Map<string, Permutation>()

  constructor(seed: number, sources: readonly SampledSource[]) {
    this.#random = new Random(seed).stream('sequences')
    this.#sources = sources
    this.#places = apportion(sources.map(({ weight }) => weight))
  }

  /** @param draw counts all sequences of all microbatches of all steps, from 0 */
  at(draw: number): Sample {
    const index = Math.floor(draw / BLOCK)
    const block = recent(this.#blocks, index, 4, () => this.#block(index))
    const source = block.sources[draw % BLOCK]!
    const ordinal = index * this.#places[source]! + block.ranks[draw % BLOCK]!
    const { sequences } = this.#sources[source]!
    const epoch = Math.floor(ordinal / sequences)
    const order = recent(
      this.#orders,
      `${source}/${epoch}`,
      2 * this.#sources.length,
      () => new Permutation(sequences, this.#random.stream(`source ${source}`).stream(epoch)),
    )
    return { source, sequence: order.at(ordinal % sequences) }
  }

  #block(index: number): Block {
    const slots = this.#places.flatMap((places, source) => new Array<number>(places).fill(source))
    const order = new Permutation(BLOCK, this.#random.stream('block').stream(index))
    const sources = new Uint16Array(BLOCK)
    const ranks = new Uint16Array(BLOCK)
    const met = this.#places.map(() => 0)
    for (let place = 0; place < BLOCK; place++) {
      const source = slots[order.at(place)]!
      sources[place] = source
      ranks[place] = met[source]!++
    }
    return { sources, ranks }
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
