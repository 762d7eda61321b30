/**
 * Copies a stage's buffers between two updates, while training continues (DataStates-LLM, arXiv 2406.10707). Forward and
 * backward only read the buffers. The copy is made piece by piece, and other work runs after each piece. The next update
 * waits only if the copy is not complete by then.
 */

/** Elements copied at a time, which takes a fraction of a millisecond. */
const PIECE_ELEMENTS = 1 << 18

/** Resolves after other work of this thread has run. */
export type YieldToLoop = () => Promise<void>

export class LazySnapshot {
  readonly #yieldToLoop: YieldToLoop
  /** Memory of the copies, which each snapshot uses again. */
  #copies: Float32Array[] = []
  /** The buffers that are being copied. */
  #live: readonly Float32Array[] = []
  /** Index of the buffer that is copied next. */
  #array = 0
  /** Index of its element that is copied next. */
  #element = 0

  constructor(yieldToLoop: YieldToLoop) {
    this.#yieldToLoop = yieldToLoop
  }

  /**
   * Copies buffers. Must be called between two updates, and only when the copies of the call before are not needed any
   * more: there is room for one copy.
   * @param live must not be written to before {@link beforeUpdate} is called
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
      await this.#yieldToLoop()
    }
    return this.#copies
  }

  get copying(): boolean {
    return this.#array < this.#live.length
  }

  /** Must be called before anything writes to the live buffers. Copies the rest. @returns number of elements copied */
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
