/**
 * A copy of a stage's buffers as they are between two updates, made while training goes on (DataStates-LLM, arXiv
 * 2406.10707): forward and backward only read them, so the copy has all that time, piece by piece, each followed by a
 * turn for whatever else there is. Only if it is not done when the next update must write does that wait.
 */

/** Copied between two turns: a fraction of a millisecond. */
const PIECE_ELEMENTS = 1 << 18

/** Lets whatever else waits have its turn. */
export type YieldToLoop = () => Promise<void>

export class LazySnapshot {
  readonly #turn: YieldToLoop
  /** As long as what is copied; kept from one snapshot to the next. */
  #copies: Float32Array[] = []
  #live: readonly Float32Array[] = []
  /** Where the copy has come to. */
  #array = 0
  #element = 0

  constructor(turn: YieldToLoop) {
    this.#turn = turn
  }

  /**
   * Begins to copy. To be called between two updates, and again only when what it gave is no longer needed: there is room
   * for one copy.
   * @param live must not be written to before {@link beforeUpdate}
   * @returns the copies, in the order of `live`, once they are complete
   */
  async begin(live: readonly Float32Array[]): Promise<readonly Float32Array[]> {
    if (this.copying) throw new Error('a snapshot has begun while another is being made')
    if (this.#copies.some((copy, i) => copy.length !== live[i]?.length)) this.#copies = []
    for (const { length } of live.slice(this.#copies.length)) {
      this.#copies.push(new Float32Array(length))
    }
    this.#live = live
    this.#array = 0
    this.#element = 0
    while (this.copying) {
      this.#copyPiece()
      await this.#turn()
    }
    return this.#copies
  }

  get copying(): boolean {
    return this.#array < this.#live.length
  }

  /** Must be called before anything writes to the live buffers. Copies what is left; gives how many elements that was. */
  beforeUpdate(): number {
    let stalled = 0
    while (this.copying) stalled += this.#copyPiece()
    return stalled
  }

  #copyPiece(): number {
    const live = this.#live[this.#array]!
    const begin = this.#element
    const end = Math.min(begin + PIECE_ELEMENTS, live.length)
    this.#copies[this.#array]!.set(live.subarray(begin, end), begin)
    this.#element = end
    if (end === live.length) {
      this.#array++
      this.#element = 0
    }
    return end - begin
  }
}
