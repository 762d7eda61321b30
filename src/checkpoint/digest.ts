/** SHA-256 of what is too large to be hashed in one breath. */
import { createHash } from 'node:crypto'
import { bytesOf } from '../../protocols/weights.ts'

/** Hashed between two turns: a millisecond or so. */
const PIECE_BYTES = 1 << 20

/** Lets whatever else waits in this thread have its turn. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** In hex, of all arrays in a row. */
export async function digestOf(...arrays: readonly (Float32Array | Uint8Array)[]): Promise<string> {
  const hash = createHash('sha256')
  for (const array of arrays) {
    const bytes = array instanceof Float32Array ? bytesOf(array) : array
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      if (at > 0) await nextTurn()
      hash.update(bytes.subarray(at, at + PIECE_BYTES))
    }
  }
  return hash.digest('hex')
}
