/** A stage's weights, fetched in checked chunks, with the gradient norm that recovery weighs them by. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { ProtocolError } from './errors.ts'
import type { Network, PeerId } from './network.ts'
import { ask, procedure } from './procedure.ts'

const count = z.int().nonnegative()

export const weights = procedure(
  '/gensyn-node/weights/1.0.0',
  z.strictObject({
    run: z.string().max(64),
    epoch: count,
    /** The step after which the weights are wanted: what the roster says is committed. */
    step: count,
    stage: count,
    /** In elements of the flat weights. */
    offset: count,
    length: count.min(1),
  }),
  z.strictObject({
    /** Of the chunk in the body. */
    sha256: z.string().length(64),
    /** Elements of the whole stage. */
    total: count,
    /** The stage's last gradient norm before clipping; null before its first update. */
    norm: z.number().nonnegative().nullable(),
  }),
)

/** Elements a chunk: 1 MiB, small enough that a slow uplink shows progress, large enough to hide the round trip. */
const CHUNK_ELEMENTS = 256 * 1024

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export function bytesOf(floats: Float32Array): Uint8Array {
  return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength)
}

export interface WeightsQuestion {
  readonly run: string
  readonly epoch: number
  readonly step: number
  readonly stage: number
}

export interface FetchOptions {
  /** For each chunk. */
  readonly chunkTimeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Fetches all `into.length` weights of a stage from one donor.
 * @throws ProtocolError WRONG_SHAPE if the donor's stage has another size, CORRUPT if a chunk's hash differs
 */
export async function fetchWeights(
  network: Network,
  donor: PeerId,
  question: WeightsQuestion,
  into: Float32Array,
  { chunkTimeoutMs, signal }: FetchOptions,
): Promise<{ norm: number | null; bytes: number }> {
  let norm: number | null = null
  for (let offset = 0; offset < into.length; offset += CHUNK_ELEMENTS) {
    const chunk = into.subarray(offset, offset + CHUNK_ELEMENTS)
    const what = `weights of stage ${question.stage} from ${donor}, elements from ${offset}`
    const answer = await ask(
      network,
      donor,
      weights,
      { ...question, offset, length: chunk.length },
      {
        timeoutMs: chunkTimeoutMs,
        signal,
        accept: (_, length) => {
          if (length !== chunk.byteLength) {
            throw new ProtocolError(
              'WRONG_SHAPE',
              `${what}: ${length} bytes instead of ${chunk.byteLength}`,
            )
          }
          return bytesOf(chunk)
        },
      },
    )
    if (answer.total !== into.length) {
      throw new ProtocolError(
        'WRONG_SHAPE',
        `${what}: the stage has ${answer.total} elements there, ${into.length} here`,
      )
    }
    if (answer.sha256 !== sha256(bytesOf(chunk))) {
      throw new ProtocolError('CORRUPT', `${what}: the hash differs`)
    }
    norm = answer.norm
  }
  return { norm, bytes: into.byteLength }
}
