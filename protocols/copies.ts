/**
 * Copies of a stage's state that other members keep, for when its holders are lost: pushed to them in chunks, told of,
 * and fetched again. A copy is named by the strategy that it is kept for, its stage, the step that it is of, and its shard.
 */
import { z } from 'zod'
import { ProtocolError } from './errors.ts'
import type { Network, PeerId } from './network.ts'
import { ask, procedure } from './procedure.ts'
import { checkHash, intoChunk, type StateFacts, sha256, stateFacts } from './weights.ts'

const run = z.string().max(64)
const count = z.int().nonnegative()

const name = {
  strategy: z.string().max(32),
  stage: count,
  /** The committed step after which the state was so. */
  step: count,
  /** 0 for a copy that is whole. */
  shard: count.max(255),
}
export const copyNameSchema = z.strictObject(name)
export type CopyName = z.infer<typeof copyNameSchema>

const hash = z.string().length(64)

/** Keep this piece of a copy. Pieces come in order; a copy is there once all of it is, and replaces the one before. */
export const keep = procedure(
  '/gensyn-node/keep/1.0.0',
  z.strictObject({
    run,
    ...name,
    ...stateFacts,
    /** Of the whole copy. */
    bytes: count.min(1),
    /** Of this piece, which is the body. */
    offset: count,
    sha256: hash,
  }),
  z.strictObject({}),
)
export type KeepQuestion = z.infer<typeof keep.question>

/** Which complete copies are kept here. */
export const kept = procedure(
  '/gensyn-node/kept/1.0.0',
  z.strictObject({ run }),
  z.strictObject({ copies: z.array(copyNameSchema).max(4096) }),
)

/** A piece of a copy, as the body. */
export const copy = procedure(
  '/gensyn-node/copy/1.0.0',
  z.strictObject({ run, ...name, offset: count, length: count.min(1) }),
  z.strictObject({ ...stateFacts, sha256: hash }),
)

/** Small enough that a slow uplink shows progress, large enough to hide the round trip. */
export const CHUNK_BYTES = 1 << 20

interface CallOptions {
  /** For each chunk. */
  readonly chunkTimeoutMs: number
  readonly signal: AbortSignal
}

/** Gives a keeper a whole copy, a chunk at a time: a microbatch waits for no more than one of them. */
export async function pushCopy(
  network: Network,
  keeper: PeerId,
  question: { readonly run: string } & CopyName & StateFacts,
  bytes: Uint8Array,
  { chunkTimeoutMs, signal }: CallOptions,
): Promise<void> {
  for (let offset = 0; offset < bytes.length; offset += CHUNK_BYTES) {
    const body = bytes.subarray(offset, offset + CHUNK_BYTES)
    const asked = { ...question, bytes: bytes.length, offset, sha256: sha256(body) }
    await ask(network, keeper, keep, asked, { body, timeoutMs: chunkTimeoutMs, signal })
  }
}

/** Fetches a whole copy into `into`. @throws ProtocolError CORRUPT, or as the keeper fails */
export async function fetchCopy(
  network: Network,
  keeper: PeerId,
  question: { readonly run: string } & CopyName,
  into: Uint8Array,
  { chunkTimeoutMs, signal }: CallOptions,
): Promise<StateFacts> {
  const { strategy, stage, step, shard } = question
  const what = `the ${strategy} copy of stage ${stage} after step ${step}, shard ${shard}, from ${keeper}`
  let told: StateFacts | undefined
  for (let offset = 0; offset < into.length; offset += CHUNK_BYTES) {
    const piece = into.subarray(offset, offset + CHUNK_BYTES)
    const accept = intoChunk(what, piece)
    const asked = { ...question, offset, length: piece.length }
    const options = { timeoutMs: chunkTimeoutMs, signal, accept }
    const answer = await ask(network, keeper, copy, asked, options)
    checkHash(what, piece, answer.sha256)
    const { norm, updates, learningRateScale } = answer
    told = { norm, updates, learningRateScale }
  }
  if (told === undefined) throw new ProtocolError('WRONG_SHAPE', `${what} is empty`)
  return told
}
