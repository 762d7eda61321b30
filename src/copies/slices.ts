/**
 * Work on all bytes of a stage in slices, with a pause after each: a heartbeat must not wait for hundreds of megabytes.
 */
import { createHash } from 'node:crypto'
import { encodeParity } from './erasure.ts'

/** Bytes of a slice. One takes a few milliseconds. */
const SLICE_BYTES = 4 * 1024 ** 2

type Pause = () => Promise<void>

/** Parity shards, as of `encodeParity`. */
export async function parityInSlices(
  shards: readonly Uint8Array[],
  count: number,
  pause: Pause,
): Promise<Uint8Array[]> {
  const { length } = shards[0]!
  const parity = Array.from({ length: count }, () => new Uint8Array(length))
  for (let begin = 0; begin < length; begin += SLICE_BYTES) {
    const slices = shards.map((shard) => shard.subarray(begin, begin + SLICE_BYTES))
    for (const [i, slice] of encodeParity(slices, count).entries()) parity[i]!.set(slice, begin)
    await pause()
  }
  return parity
}

/** SHA-256 in hex. The bytes must not change until it resolves. */
export async function sha256InSlices(bytes: Uint8Array, pause: Pause): Promise<string> {
  const hash = createHash('sha256')
  for (let begin = 0; begin < bytes.length; begin += SLICE_BYTES) {
    hash.update(bytes.subarray(begin, begin + SLICE_BYTES))
    if (begin + SLICE_BYTES < bytes.length) await pause()
  }
  return hash.digest('hex')
}
