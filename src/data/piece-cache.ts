/** Remembers the tokens of pieces of text, a bounded number of them: what was not asked for lately is forgotten. */

/** In each of two generations. Natural text has most of its pieces among the first ten thousand. */
const GENERATION = 1 << 16
/** UTF-16 units. Longer pieces come but once. */
const LONGEST = 64

export class PieceCache {
  #young = new Map<string, readonly number[]>()
  #old = new Map<string, readonly number[]>()

  get(piece: string): readonly number[] | undefined {
    const young = this.#young.get(piece)
    if (young !== undefined) return young
    const old = this.#old.get(piece)
    if (old !== undefined) this.#keep(piece, old)
    return old
  }

  set(piece: string, ids: readonly number[]): void {
    if (piece.length > LONGEST) return
    // Copies: a part of a string keeps the whole of it in memory, and an array that grew has room to grow on.
    this.#keep(copyOf(piece), ids.slice())
  }

  #keep(piece: string, ids: readonly number[]): void {
    if (this.#young.size === GENERATION) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(piece, ids)
  }
}

export function copyOf(text: string): string {
  return Buffer.from(text, 'utf16le').toString('utf16le')
}
