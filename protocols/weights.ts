/** Procedure that fetches a stage's state in chunks, with a hash each, from one or several donors. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { askAfresh } from './ask-afresh.ts'
import { ProtocolError } from './errors.ts'
import type { Network, PeerId } from './network.ts'
import { procedure } from './procedure.ts'
import { count, run } from './schemas.ts'

/** Elements of a chunk (1 MiB): small enough to show progress on a slow uplink, large enough to hide the round trip. */
export const CHUNK_ELEMENTS = 256 * 1024

/** The flat buffers of a stage that another member can fetch. */
const PARTS = ['weights', 'firstMoment', 'secondMoment'] as const
export type StatePart = (typeof PARTS)[number]

/** Fields of a stage's state besides its tensors. */
export const stateFacts = {
  /** L2 norm of the stage's last mean gradient, before clipping; null before the first update. */
  norm: z.number().nonnegative().nullable(),
  /** Number of optimizer updates applied. */
  updates: count,
  /** Factor of the stage's learning rate. */
  learningRateScale: z.number().positive(),
}
const stateFactsSchema = z.strictObject(stateFacts)
export type StateFacts = z.infer<typeof stateFactsSchema>

export const weights = procedure(
  '/gensyn-node/weights/3.0.0',
  z.strictObject({
    run,
    /** The state after this step is wanted; the last committed step of the roster. */
    step: count,
    stage: count,
    part: z.enum(PARTS),
    /** First element of the chunk in the flat buffer. `length` counts elements, too. */
    offset: count,
    length: count.min(1).max(CHUNK_ELEMENTS),
  }),
  z.strictObject({
    /** SHA-256 of the body, in hex. */
    sha256: z.string().length(64),
    /** Number of elements of the whole flat buffer. */
    total: count,
    ...stateFacts,
  }),
)
export type WeightsQuestion = z.infer<typeof weights.question>
export type WeightsAnswer = z.infer<typeof weights.answer>

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export function bytesOf(floats: Float32Array): Uint8Array {
  return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength)
}

/** Receives the body of an answer into `chunk`. @throws ProtocolError WRONG_SHAPE */
export function intoChunk(what: string, chunk: Uint8Array) {
  return (_: unknown, length: number): Uint8Array => {
    if (length === chunk.byteLength) return chunk
    throw new ProtocolError(
      'WRONG_SHAPE',
      `${what}: ${length} bytes instead of ${chunk.byteLength}`,
    )
  }
}

/** @throws ProtocolError CORRUPT */
export function checkHash(what: string, chunk: Uint8Array, expected: string): void {
  if (sha256(chunk) === expected) return
  throw new ProtocolError('CORRUPT', `${what}: the hash differs`)
}

/** Views of a flat buffer from element `from` to `to`, at most 1 MiB each, in order. */
export function chunksOf(buffer: Float32Array, from = 0, to = buffer.length) {
  const chunks: { offset: number; chunk: Float32Array }[] = []
  for (let offset = from; offset < to; offset += CHUNK_ELEMENTS) {
    chunks.push({ offset, chunk: buffer.subarray(offset, Math.min(to, offset + CHUNK_ELEMENTS)) })
  }
  return chunks
}

export interface StateQuestion {
  readonly run: string
  readonly step: number
  readonly stage: number
  readonly part: StatePart
}

export interface FetchOptions {
  /** Deadline of each chunk, in milliseconds. */
  readonly chunkTimeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Fetches one flat buffer of a stage. All donors send chunks at the same time. If a donor fails, another donor sends the
 * chunk, and the failed donor is not asked again.
 * @param into filled with the buffer
 * @throws the last donor's failure; ProtocolError WRONG_SHAPE if the stage has another size, CORRUPT if a hash differs
 */
export async function fetchState(
  network: Network,
  donors: readonly PeerId[],
  question: StateQuestion,
  into: Float32Array,
  { chunkTimeoutMs, signal }: FetchOptions,
): Promise<StateFacts> {
  const chunks = chunksOf(into)
  let facts: StateFacts | undefined
  let failure: unknown
  const fetchFrom = async (donor: PeerId) => {
    for (let next = chunks.shift(); next !== undefined; next = chunks.shift()) {
      const { offset, chunk } = next
      const what = `${question.part} of stage ${question.stage} from ${donor}, elements from ${offset}`
      try {
        const asked = { ...question, offset, length: chunk.length }
        const accept = intoChunk(what, bytesOf(chunk))
        const options = { timeoutMs: chunkTimeoutMs, signal, accept }
        const answer = await askAfresh(network, donor, weights, asked, options)
        if (answer.total !== into.length) {
          const sizes = `${answer.total} elements there, ${into.length} here`
          throw new ProtocolError('WRONG_SHAPE', `${what}: the stage has ${sizes}`)
        }
        checkHash(what, bytesOf(chunk), answer.sha256)
        facts = answer
      } catch (error) {
        chunks.unshift(next)
        failure = error
        return
      }
    }
  }
  await Promise.all(donors.map(fetchFrom))
  // A donor may have finished before another donor failed and gave its chunk back.
  for (const donor of donors) if (chunks.length > 0) await fetchFrom(donor)
  signal?.throwIfAborted()
  if (chunks.length > 0 || facts === undefined) throw failure
  return facts
}
