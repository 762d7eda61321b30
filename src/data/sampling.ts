/**
 * The order of the training sequences: a pure function from the number of a draw to a source and a sequence. No peer
 * stores a position. Draws come in blocks. In each block every source has its share of places, in a seeded order.
 * Each source runs through all its sequences once in an epoch, in a new seeded order for each epoch.
 */
import { Random } from '../../stages/random.ts'
import { recent } from '../../stages/recent.ts'
import { Permutation } from './permutation.ts'

/** Number of places in a block. Shares are exact to one place. */
const BLOCK = 1 << 12

/** A source to sample from. */
export interface SampledSource {
  readonly weight: number
  /** Number of sequences in the source. */
  readonly sequences: number
}

/** One draw: the index of a source, and the index of a sequence in it. */
export interface Sample {
  readonly source: number
  readonly sequence: number
}

/** For each place of a block: its source, and the number of earlier places of the same source. */
interface Block {
  readonly sources: Uint16Array
  readonly ranks: Uint16Array
}

/** The order of the training sequences of one run. */
export class Sampling {
  readonly #random: Random
  readonly #sources: readonly SampledSource[]
  /** Number of places in a block, for each source. */
  readonly #places: readonly number[]
  /** Blocks that were used last. The draws of one step lie in few blocks. */
  readonly #blocks = new Map<number, Block>()
  readonly #orders = new Map<string, Permutation>()

  constructor(seed: number, sources: readonly SampledSource[]) {
    this.#random = new Random(seed).stream('sequences')
    this.#sources = sources
    this.#places = apportion(sources.map(({ weight }) => weight))
  }

  /**
   * The sequence of a draw.
   * @param draw number of the sequence among all sequences of all steps, from 0
   */
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

/**
 * Distributes the places of a block in proportion to the weights, at least one to each source. The rest goes to the
 * largest remainders.
 */
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
