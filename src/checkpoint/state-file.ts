/**
 * A file with the state of a stage on a peer's own disk: a header of fixed size, then the encoded weights and moments. The
 * header names the state, and has a digest of itself and of the rest.
 */
import { createHash, type Hash } from 'node:crypto'
import { z } from 'zod'
import { type Holding, holdingSchema, KEPT } from '../../protocols/copies.ts'
import { type StateFacts, stateFacts } from '../../protocols/weights.ts'
import { allFinite } from '../base/finite.ts'
import { CheckpointError } from './error.ts'
import type { YieldToLoop } from './lazy-snapshot.ts'
import type { Store, StoredFile } from './store.ts'

/** Bytes of a header: JSON, padded with spaces. The names and numbers of a state take less than half. */
export const HEADER_BYTES = 1024

/** Bytes that are hashed, checked or read at a time, which takes about a millisecond. */
const PIECE_BYTES = 1 << 20

/** What a file has besides the encoded state. */
const stateSchema = z.strictObject({ ...holdingSchema.shape, ...stateFacts })
export type SavedState = Holding & StateFacts

const headerSchema = z.strictObject({
  format: z.literal('gensyn-state'),
  version: z.literal(1),
  state: stateSchema,
  /** Bytes after the header. */
  bytes: z.int().min(1),
  /** SHA-256, in hex, of the JSON of `state` and of the bytes after the header. */
  sha256: z.string().length(64),
})

const EXTENSION = '.state'

/** True unless the file is a temporary one of a process that was killed while it wrote. */
export function isStateFile(name: string): boolean {
  return name.endsWith(EXTENSION)
}

/** Name of the file of a state. Two states of one peer have different names. */
export function fileOf({ strategy, stage, step, shard, run }: Holding): string {
  return `${encodeURIComponent(strategy)}-${stage}-${step}-${shard}-${run.slice(0, 12)}${EXTENSION}`
}

/**
 * The content of a file, in parts.
 * @param pause called between two pieces, so that other work runs
 * @throws CheckpointError if a holder's own state is not finite: such a state is of no use to anybody
 */
export async function encodeFile(
  state: SavedState,
  parts: readonly Uint8Array[],
  pause: YieldToLoop,
): Promise<readonly Uint8Array[]> {
  const hash = beginHash(state)
  for (const part of parts) {
    for (let at = 0; at < part.length; at += PIECE_BYTES) {
      checkPiece(state, hash, part.subarray(at, at + PIECE_BYTES))
      await pause()
    }
  }
  const bytes = parts.reduce((sum, { length }) => sum + length, 0)
  const sha256 = hash.digest('hex')
  const text = JSON.stringify({ format: 'gensyn-state', version: 1, state, bytes, sha256 })
  const header = new Uint8Array(HEADER_BYTES).fill(0x20)
  const encoded = new TextEncoder().encode(text)
  if (encoded.length > HEADER_BYTES) throw new CheckpointError(`${fileOf(state)}: a long header`)
  header.set(encoded)
  return [header, ...parts]
}

/**
 * Reads a whole file, and checks it.
 * @throws CheckpointError if the file is damaged, or its state is not finite
 */
export async function checkFile(
  store: Store,
  { name, bytes }: StoredFile,
  pause: YieldToLoop,
): Promise<SavedState> {
  const refuse = (why: string): never => {
    throw new CheckpointError(`${name} ${why}`)
  }
  if (bytes <= HEADER_BYTES) refuse('is too short')
  const header = await readHeader(store, name)
  const { state } = header
  if (fileOf(state) !== name || header.bytes !== bytes - HEADER_BYTES) refuse('is damaged')
  const hash = beginHash(state)
  for (let at = HEADER_BYTES; at < bytes; at += PIECE_BYTES) {
    // A new buffer is aligned, so that floats can be read from it.
    const piece = new Uint8Array(Math.min(PIECE_BYTES, bytes - at))
    await store.read(name, at, piece)
    checkPiece(state, hash, piece)
    await pause()
  }
  if (hash.digest('hex') !== header.sha256) refuse('is damaged: its digest differs')
  return state
}

async function readHeader(store: Store, name: string) {
  const bytes = new Uint8Array(HEADER_BYTES)
  await store.read(name, 0, bytes)
  try {
    return headerSchema.parse(JSON.parse(new TextDecoder().decode(bytes)))
  } catch (cause) {
    throw new CheckpointError(`${name} is damaged: its header cannot be read`, { cause })
  }
}

function beginHash(state: SavedState): Hash {
  // The order of the keys is the schema's, so that a state that was read has the digest that it was written with.
  return createHash('sha256').update(JSON.stringify(stateSchema.parse(state)))
}

/** @throws CheckpointError for a holder's own state that is not finite; other forms are checked when they are decoded */
function checkPiece(state: SavedState, hash: Hash, piece: Uint8Array): void {
  hash.update(piece)
  if (state.strategy !== KEPT) return
  const floats = new Float32Array(piece.buffer, piece.byteOffset, piece.byteLength / 4)
  if (!allFinite(floats))
    throw new CheckpointError(`${fileOf(state)} has values that are not finite`)
}
