/** SHA-256 of large arrays, computed in pieces between which other work runs. */
import { createHash } from 'node:crypto'
import { bytesOf } from '../../protocols/weights.ts'

/** Bytes hashed at a time, which takes about a millisecond. */
const PIECE_BYTES = 1 << 20

/** Resolves after other work of this thread has run. */
export const yieldToLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** SHA-256, in hex, of the concatenated arrays. */
export async function digestOf(...arrays: readonly (Float32Array | Uint8Array)[]): Promise<string> {
  const hash = createHash('sha256')
  for (const array of arrays) {
    const bytes = array instanceof Float32Array ? bytesOf(array) : array
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      if (at > 0) await yieldToLoop()
      hash.update(bytes.subarray(at, at + PIECE_BYTES))
    }
  }
  return hash.digest('hex')
}
