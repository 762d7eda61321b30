/**
 * A seeded permutation of 0 .. size - 1 without a table. A Feistel network permutes a range whose size is the next power
 * of four. While the result is outside 0 .. size - 1, it is permuted again (cycle walking), at most four times on average.
 */
import type { Random } from '../../stages/random.ts'

const ROUNDS = 6

export class Permutation {
  readonly #size: number
  readonly #half: number
  readonly #mask: number
  readonly #keys: readonly number[]

  /** @param size at most 2^52 */
  constructor(size: number, random: Random) {
    this.#size = size
    this.#half = 1
    while (4 ** this.#half < size) this.#half++
    this.#mask = 2 ** this.#half - 1
    this.#keys = Array.from({ length: ROUNDS }, () => random.uint32())
  }

  /** Number at `position` of the permutation. */
  at(position: number): number {
    let value = position
    do value = this.#encrypt(value)
    while (value >= this.#size)
    return value
  }

  #encrypt(value: number): number {
    const base = this.#mask + 1
    let left = Math.floor(value / base)
    let right = value % base
    for (const key of this.#keys) [left, right] = [right, (left ^ mix(right ^ key)) & this.#mask]
    // The mask keeps at most 26 bits of each half, so that a float64 represents the result exactly.
    return left * base + right
  }
}

/** The final 32-bit mix of MurmurHash3. */
function mix(value: number): number {
  let h = value | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
