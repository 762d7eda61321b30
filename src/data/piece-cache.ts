/** A bounded cache of the tokens of text pieces. Pieces that were not used lately are dropped. */

/** Number of pieces in each of two generations. Most pieces of natural text are among ten thousand common ones. */
const GENERATION = 1 << 16
/** Longest piece that is cached, in UTF-16 units. Longer pieces rarely come twice. */
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
    // Copies save memory: a substring keeps its whole string alive, and a grown array has spare capacity.
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

/** A copy of a string that does not share the memory of a longer string. */
export function copyOf(text: string): string {
  return Buffer.from(text, 'utf16le').toString('utf16le')
}
