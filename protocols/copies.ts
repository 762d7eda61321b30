/**
 * Procedures for copies of a stage's state. Other members keep the copies for the loss of the stage's holders. A holder
 * pushes a copy in chunks; another member lists and fetches copies. A copy is named by its strategy, stage, step and shard.
 */
import { z } from 'zod'
import { askAfresh } from './ask-afresh.ts'
import { ProtocolError } from './errors.ts'
import type { Network, PeerId } from './network.ts'
import { procedure } from './procedure.ts'
import { count, run, strategyName } from './schemas.ts'
import { checkHash, intoChunk, type StateFacts, sha256, stateFacts } from './weights.ts'

/** Bytes of a chunk: small enough to show progress on a slow uplink, large enough to hide the round trip. */
export const CHUNK_BYTES = 1 << 20

const name = {
  strategy: strategyName,
  stage: count,
  /** Committed step of the copied state. */
  step: count,
  /** Index of the shard; 0 for a whole copy. */
  shard: count.max(255),
}
export const copyNameSchema = z.strictObject(name)
export type CopyName = z.infer<typeof copyNameSchema>

/** Strategy name of a holder's own state on its disk. The state is exact. */
export const KEPT = 'kept'

/** A state of a stage on a peer's disk: the holder's own, or a copy that the peer keeps for others. */
export const holdingSchema = z.strictObject({
  ...name,
  /** Id of the run, or of the incarnation of a run, in which the file was written. */
  run,
  /** Training loss of the step; null for a copy. */
  loss: z.number().nullable(),
})
export type Holding = z.infer<typeof holdingSchema>

const hash = z.string().length(64)

/** Pushes a piece of a copy. Pieces come in order. A complete copy replaces the copy before. */
export const keep = procedure(
  '/gensyn-node/keep/1.0.0',
  z.strictObject({
    run,
    ...name,
    ...stateFacts,
    /** Length of the whole copy, in bytes. */
    bytes: count.min(1),
    /** First byte of this piece in the copy. The body has the piece. */
    offset: count,
    /** SHA-256 of the body, in hex. */
    sha256: hash,
  }),
  z.strictObject({}),
)
export type KeepQuestion = z.infer<typeof keep.question>

/** Copies that a member lists, the latest first. More do not fit a header. */
export const COPIES_LISTED_MAX = 400

/** Lists the complete copies that a member keeps, and the stage that it rebuilds. Asked when a stage is lost. */
export const kept = procedure(
  '/gensyn-node/kept/3.0.0',
  z.strictObject({ run }),
  z.strictObject({
    copies: z.array(copyNameSchema).max(COPIES_LISTED_MAX),
    /** Stage that the member rebuilds or has rebuilt, and that no roster has given to it yet; null if there is none. */
    rebuilding: count.nullable(),
  }),
)

/** Fetches a piece of a copy, in the body. `offset` and `length` are in bytes. */
export const copy = procedure(
  '/gensyn-node/copy/2.0.0',
  z.strictObject({ run, ...name, offset: count, length: count.min(1).max(CHUNK_BYTES) }),
  z.strictObject({ ...stateFacts, sha256: hash }),
)

interface CallOptions {
  /** Deadline of each chunk, in milliseconds. */
  readonly chunkTimeoutMs: number
  readonly signal: AbortSignal
}

/** Pushes a whole copy to a keeper in chunks, so that a microbatch waits for at most one chunk. */
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
    const options = { body, timeoutMs: chunkTimeoutMs, signal }
    await askAfresh(network, keeper, keep, asked, options)
  }
}

/**
 * Fetches a whole copy into `into`, from one keeper after another: the next one gives what the one before did not.
 * @throws ProtocolError CORRUPT if a hash differs, or the failure of the last keeper
 */
export async function fetchCopy(
  network: Network,
  keepers: readonly PeerId[],
  question: { readonly run: string } & CopyName,
  into: Uint8Array,
  { chunkTimeoutMs, signal }: CallOptions,
): Promise<StateFacts> {
  const { strategy, stage, step, shard } = question
  const what = `the ${strategy} copy of stage ${stage} after step ${step}, shard ${shard}`
  let failure: unknown = new ProtocolError('WRONG_SHAPE', `${what} is empty or has no keeper`)
  let offset = 0
  for (const keeper of keepers) {
    const from = `${what}, from ${keeper}`
    try {
      for (;;) {
        const piece = into.subarray(offset, offset + CHUNK_BYTES)
        const asked = { ...question, offset, length: piece.length }
        const options = { timeoutMs: chunkTimeoutMs, signal, accept: intoChunk(from, piece) }
        const answer = await askAfresh(network, keeper, copy, asked, options)
        checkHash(from, piece, answer.sha256)
        offset += piece.length
        if (offset < into.length) continue
        const { norm, updates, learningRateScale } = answer
        return { norm, updates, learningRateScale }
      }
    } catch (error) {
      signal.throwIfAborted()
      failure = error
    }
  }
  throw failure
}
