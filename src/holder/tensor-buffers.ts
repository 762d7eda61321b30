/**
 * Memory for the tensors that arrive, which is used again. A microbatch's activation is received into memory that the
 * stage's thread shares. Hence it is not copied, and nothing is allocated for each microbatch. The garbage collector
 * frees buffers that are not given back, as when a step is given up.
 */
import { sharedFloats } from '../../stages/stage.ts'

export class TensorBuffers {
  readonly #elements: number
  readonly #freeMax: number
  readonly #free: SharedArrayBuffer[] = []
  /** Buffers that were taken and not given back. */
  readonly #lent = new WeakSet<ArrayBufferLike>()

  /**
   * @param elements float32 elements of a tensor
   * @param freeMax buffers kept for later
   */
  constructor(elements: number, freeMax: number) {
    this.#elements = elements
    this.#freeMax = freeMax
  }

  /** A buffer. Its content is undefined. */
  take(): Uint8Array {
    const buffer = this.#free.pop() ?? sharedFloats(this.#elements).buffer
    this.#lent.add(buffer)
    return new Uint8Array(buffer)
  }

  /** Takes back the buffer of a tensor that is not read any more. Ignores a buffer that is not lent. */
  give({ buffer }: Float32Array): void {
    if (!this.#lent.delete(buffer) || this.#free.length >= this.#freeMax) return
    this.#free.push(buffer as SharedArrayBuffer)
  }
}
