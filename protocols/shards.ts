/** Files of a prepared dataset, named by their digest: fetched in checked chunks from whoever has them. */
import { z } from 'zod'
import { ProtocolError } from './errors.ts'
import type { Network, PeerId } from './network.ts'
import { ask, procedure } from './procedure.ts'
import { sha256 } from './weights.ts'

const count = z.int().nonnegative()

/** 1 MiB, as for weights: a slow uplink shows progress, and the round trip is hidden. */
export const CHUNK_BYTES = 1 << 20

export const shards = procedure(
  '/gensyn-node/shards/1.0.0',
  z.strictObject({
    run: z.string().max(64),
    /** Of the whole file, in hex. */
    sha256: z.string().length(64),
    offset: count,
    /** At most; the last chunk is shorter. */
    length: count.min(1).max(CHUNK_BYTES),
  }),
  z.strictObject({
    /** Of the chunk in the body. */
    sha256: z.string().length(64),
    /** Bytes of the whole file. */
    total: count,
  }),
)

export interface ShardQuestion {
  readonly run: string
  readonly sha256: string
}

export interface FetchShardOptions {
  /** For each chunk. */
  readonly chunkTimeoutMs: number
  /** A longer file is refused before any of it is stored. */
  readonly maxBytes: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Fetches a whole file. Where one donor fails the next goes on from the chunk that is missing; if the whole is not what
 * its digest says, each donor is asked for all of it by itself, so that one that lies spoils nothing.
 * @example
 * ```ts
 * const bytes = await fetchShard(network, ['a', 'b'], { run, sha256 }, { chunkTimeoutMs: 30_000, maxBytes: 1 << 24 })
 * ```
 * @throws ProtocolError UNREACHABLE if no donor could give it, with what each one said
 */
export async function fetchShard(
  network: Network,
  donors: readonly PeerId[],
  question: ShardQuestion,
  options: FetchShardOptions,
): Promise<Uint8Array> {
  const failures: string[] = []
  const alone = donors.length > 1 ? donors.map((donor) => [donor]) : []
  for (const some of [donors, ...alone]) {
    const bytes = await fetchFrom(network, some, question, options, failures)
    if (bytes === null) continue
    if (sha256(bytes) === question.sha256) return bytes
    failures.push(`${some.join(', ')}: the file has another digest`)
  }
  throw new ProtocolError(
    'UNREACHABLE',
    `no peer gives the file with SHA-256 ${question.sha256}: ${failures.join('; ') || 'there is none'}`,
  )
}

/** Null if the last of the donors failed before the file was whole. */
async function fetchFrom(
  network: Network,
  donors: readonly PeerId[],
  question: ShardQuestion,
  options: FetchShardOptions,
  failures: string[],
): Promise<Uint8Array | null> {
  let into: Uint8Array | null = null
  let done = 0
  for (const donor of donors) {
    try {
      do {
        const chunk = await fetchChunk(network, donor, question, done, into, options)
        into ??= new Uint8Array(chunk.total)
        into.set(chunk.bytes, done)
        done += chunk.bytes.length
      } while (done < into.length)
      return into
    } catch (error) {
      options.signal?.throwIfAborted()
      if (!(error instanceof ProtocolError)) throw error
      failures.push(`${donor}: ${error.message}`)
    }
  }
  return null
}

async function fetchChunk(
  network: Network,
  donor: PeerId,
  question: ShardQuestion,
  offset: number,
  into: Uint8Array | null,
  { chunkTimeoutMs, maxBytes, signal }: FetchShardOptions,
): Promise<{ bytes: Uint8Array; total: number }> {
  const what = `${question.sha256.slice(0, 12)} from byte ${offset}`
  const length = Math.min(CHUNK_BYTES, into === null ? CHUNK_BYTES : into.length - offset)
  let bytes = new Uint8Array()
  const answer = await ask(
    network,
    donor,
    shards,
    { ...question, offset, length },
    {
      timeoutMs: chunkTimeoutMs,
      signal,
      accept: (_, sent) => {
        if (sent > length) throw new ProtocolError('WRONG_SHAPE', `${what}: ${sent} bytes`)
        bytes = new Uint8Array(sent)
        return bytes
      },
    },
  )
  const { total } = answer
  if (total > maxBytes) {
    throw new ProtocolError('TOO_LARGE', `${what}: ${total} bytes, more than ${maxBytes}`)
  }
  const expected = Math.min(length, total - offset)
  if ((into !== null && total !== into.length) || bytes.length !== expected || expected < 1) {
    throw new ProtocolError('WRONG_SHAPE', `${what}: ${bytes.length} bytes of ${total}`)
  }
  if (answer.sha256 !== sha256(bytes)) {
    throw new ProtocolError('CORRUPT', `${what}: the hash differs`)
  }
  return { bytes, total }
}
