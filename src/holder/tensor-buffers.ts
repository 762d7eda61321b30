/**
 * Memory that tensors arrive in, used again. A microbatch's activation is received straight into memory that the
 * stage's thread sees too, so that it is neither copied on its way there nor allocated and collected once a microbatch.
 * What is not given back (a step that was given up) is the garbage collector's.
 */
import { sharedFloats } from '../../stages/stage.ts'

export class TensorBuffers {
  readonly #elements: number
  readonly #freeMax: number
  readonly #free: SharedArrayBuffer[] = []
  /** Taken and not given back. */
  readonly #lent = new WeakSet<ArrayBufferLike>()

  /**
   * @param elements float32 of a tensor; others are made as they are asked for
   * @param freeMax tensors kept for later
   */
  constructor(elements: number, freeMax: number) {
    this.#elements = elements
    this.#freeMax = freeMax
  }

  /** With whatever an earlier tensor has left in it. */
  take(): Uint8Array {
    const buffer = this.#free.pop() ?? sharedFloats(this.#elements).buffer
    this.#lent.add(buffer)
    return new Uint8Array(buffer)
  }

  /** Nobody reads this tensor any more. One that was not taken here, or was given back already, is passed over. */
  give({ buffer }: Float32Array): void {
    if (!this.#lent.delete(buffer) || this.#free.length >= this.#freeMax) return
    this.#free.push(buffer as SharedArrayBuffer)
  }
}
