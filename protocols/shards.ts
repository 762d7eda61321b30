/** Procedure that fetches files of a prepared dataset by their digest, in chunks with a hash each. */
import { z } from 'zod'
import { ProtocolError } from './errors.ts'
import type { Network, PeerId } from './network.ts'
import { ask, procedure } from './procedure.ts'
import { count, run } from './schemas.ts'
import { sha256 } from './weights.ts'

/** Bytes of a chunk (1 MiB), as for weights: shows progress on a slow uplink, and hides the round trip. */
export const CHUNK_BYTES = 1 << 20

export const shards = procedure(
  '/gensyn-node/shards/1.0.0',
  z.strictObject({
    run,
    /** SHA-256 of the whole file, in hex. */
    sha256: z.string().length(64),
    /** First byte of the chunk. */
    offset: count,
    /** Most bytes of the chunk. The last chunk of a file is shorter. */
    length: count.min(1).max(CHUNK_BYTES),
  }),
  z.strictObject({
    /** SHA-256 of the body, in hex. */
    sha256: z.string().length(64),
    /** Length of the whole file, in bytes. */
    total: count,
  }),
)

export interface ShardQuestion {
  readonly run: string
  readonly sha256: string
}

export interface FetchShardOptions {
  /** Deadline of each chunk, in milliseconds. */
  readonly chunkTimeoutMs: number
  /** Longest accepted file, in bytes. A longer file is refused before its bytes are stored. */
  readonly maxBytes: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Fetches a whole file. If a donor fails, the next donor continues at the missing chunk. If the digest of the file differs, each
 * donor is asked for the whole file by itself, so that one wrong donor does no harm.
 * @example
 * ```ts
 * const bytes = await fetchShard(network, ['a', 'b'], { run, sha256 }, { chunkTimeoutMs: 30_000, maxBytes: 1 << 24 })
 * ```
 * @throws ProtocolError UNREACHABLE if no donor has sent the file; the message has the reason of each donor
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

/** Fetches the file from the donors in order. Null if the last donor failed before the file was complete. */
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
