/** A stage's state, fetched in checked chunks from one or several donors. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { ProtocolError } from './errors.ts'
import type { Network, PeerId } from './network.ts'
import { ask, procedure } from './procedure.ts'

const count = z.int().nonnegative()

/** The flat buffers of a stage that another may ask for. */
const PARTS = ['weights', 'firstMoment', 'secondMoment'] as const
export type StatePart = (typeof PARTS)[number]

/** What belongs to a stage's state beside its numbers. */
export const stateFacts = {
  /** The stage's last gradient norm before clipping; null before its first update. */
  norm: z.number().nonnegative().nullable(),
  /** Updates that its optimizer has made. */
  updates: count,
  /** What its learning rate is multiplied with. */
  learningRateScale: z.number().positive(),
}
const stateFactsSchema = z.strictObject(stateFacts)
export type StateFacts = z.infer<typeof stateFactsSchema>

export const weights = procedure(
  '/gensyn-node/weights/2.0.0',
  z.strictObject({
    run: z.string().max(64),
    /** The step after which the state is wanted: what the roster says is committed. */
    step: count,
    stage: count,
    part: z.enum(PARTS),
    /** In elements of the flat buffer. */
    offset: count,
    length: count.min(1),
  }),
  z.strictObject({
    /** Of the chunk in the body. */
    sha256: z.string().length(64),
    /** Elements of the whole stage. */
    total: count,
    ...stateFacts,
  }),
)
export type WeightsQuestion = z.infer<typeof weights.question>
export type WeightsAnswer = z.infer<typeof weights.answer>

/** Elements a chunk: 1 MiB, small enough that a slow uplink shows progress, large enough to hide the round trip. */
export const CHUNK_ELEMENTS = 256 * 1024

export function sha256(bytes: Uint8Array): string {
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

/** The chunks of a flat buffer, in order. */
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
  /** For each chunk. */
  readonly chunkTimeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Fetches one flat buffer of a stage. Every donor sends chunks at once; what one of them fails at, the next one is asked
 * for, and the one that failed is asked no more.
 * @throws the last donor's failure; ProtocolError WRONG_SHAPE if its stage has another size, CORRUPT if a hash differs
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
        const answer = await ask(network, donor, weights, asked, options)
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
  // One that had nothing left to do may have ended before another gave its last chunk back.
  for (const donor of donors) if (chunks.length > 0) await fetchFrom(donor)
  signal?.throwIfAborted()
  if (chunks.length > 0 || facts === undefined) throw failure
  return facts
}
