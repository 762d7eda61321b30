/**
 * The data of a run on this peer: a text or a prepared dataset. A peer without the dataset's folder fetches the shards
 * that it needs from other peers. Every peer serves the shards that it has.
 */
import { ProtocolError } from '../../protocols/errors.ts'
import type { PeerId } from '../../protocols/network.ts'
import { fetchShard, shards } from '../../protocols/shards.ts'
import { sha256 } from '../../protocols/weights.ts'
import { InputError } from '../base/errors.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { type RunContext, serveRun } from '../membership/serve-run.ts'
import type { BatchSource } from '../run/batch-source.ts'
import type { Run } from '../run/run.ts'
import { type Corpus, heldOutMicrobatch, loadCorpus, microbatch } from './corpus.ts'
import { DATASET_FILE, filesOf, isPrepared, MAX_DATASET_BYTES, parseDataset } from './dataset.ts'
import { openDataset, PreparedCorpus, preparedFolder } from './prepared-corpus.ts'
import { type DataFile, ShardFiles } from './shard-files.ts'

/** Default size of the cache for shards from other peers, in bytes. */
const CACHE_BYTES = 4 * 2 ** 30

/** Options for the data of a run. */
export interface RunDataOptions extends RunContext {
  readonly run: Run
  /** Path of the manifest. */
  readonly runPath: string
  /** Folder for fetched shards. */
  readonly cacheFolder: string
  readonly cacheBytes?: number
  readonly signal?: AbortSignal | undefined
}

/** The data of a run. */
export interface RunData {
  /**
   * Loads the text, or the description of the dataset.
   * @param donors gives the peers that may have a missing shard, in the order in which they are asked
   * @throws InputError if the data is missing or damaged
   */
  load(donors: () => readonly PeerId[]): Promise<BatchSource>
  /** Stops serving shards, and closes all files. */
  close(): void
}

/** Opens the data of a run, and serves this peer's shards until `close`. */
export function openRunData(options: RunDataOptions): RunData {
  const { run, runPath, cacheFolder, cacheBytes } = options
  const folder = preparedFolder(run, runPath)
  if (folder === null) {
    return { load: async () => textData(run, await loadCorpus(run, runPath)), close: () => {} }
  }
  const isHere = isPrepared(folder)
  const maxBytes = cacheBytes ?? CACHE_BYTES
  const files = new ShardFiles(isHere ? folder : null, { folder: cacheFolder, maxBytes })
  const named = new Map<string, DataFile>([[run.data.sha256, manifestOf(run)]])
  if (isHere) for (const file of filesOf(openDataset(run, folder))) named.set(file.sha256, file)
  const stopServing = serveFiles(options, files, named)
  return {
    load: (donors) => preparedData(options, files, named, donors),
    close: () => {
      stopServing()
      files.close()
    },
  }
}

function manifestOf({ data }: Run): DataFile {
  return { file: DATASET_FILE, sha256: data.sha256 }
}

function textData(run: Run, corpus: Corpus): BatchSource {
  return {
    training: (step, index) => microbatch(run, corpus, step, index),
    heldOut: (index) => heldOutMicrobatch(run, corpus, index),
  }
}

async function preparedData(
  options: RunDataOptions,
  files: ShardFiles,
  named: Map<string, DataFile>,
  donors: () => readonly PeerId[],
): Promise<BatchSource> {
  const { run, runId, network, signal } = options
  const fetchUpTo = (maxBytes: number) => async (file: DataFile) => {
    const others = donors().filter((peer) => peer !== network.self)
    if (others.length === 0) {
      throw new InputError(
        `${file.file} of ${run.data.source} is not on this machine, and there is no peer to fetch it from. ` +
          'Copy the folder beside the manifest, or join a run whose peers have it.',
      )
    }
    const { sha256 } = file
    const question = { run: runId, sha256 }
    return fetchShard(network, others, question, {
      chunkTimeoutMs: TIMEOUTS.chunkMs,
      maxBytes,
      signal,
    })
  }
  const manifest = manifestOf(run)
  const json = await files.use([manifest], fetchUpTo(MAX_DATASET_BYTES), () => {
    const bytes = new Uint8Array(files.sizeOf(manifest))
    files.read(manifest, 0, bytes)
    return bytes
  })
  const dataset = parseDataset(json, run.data.source)
  for (const file of filesOf(dataset)) named.set(file.sha256, file)
  const corpus = new PreparedCorpus(run, dataset, files)
  const fetch = fetchUpTo(dataset.shardTokens * dataset.bytesPerToken)
  return {
    training: (step, index) => {
      const tokens = files.use(corpus.shardsOf(step, index), fetch, () =>
        corpus.microbatch(step, index),
      )
      // Fetches the shards of the next step while this step is computed. An error comes again when they are needed.
      const ahead = corpus.shardsOf(step + 1, index)
      if (ahead.some((file) => !files.has(file))) files.use(ahead, fetch, () => {}).catch(() => {})
      return tokens
    },
    heldOut: (index) =>
      files.use(corpus.heldOutShardsOf(index), fetch, () => corpus.heldOutMicrobatch(index)),
  }
}

function serveFiles(
  context: RunContext,
  files: ShardFiles,
  named: ReadonlyMap<string, DataFile>,
): () => void {
  return serveRun(context, shards, {
    serve: async (_, { sha256: wanted, offset, length }) => {
      const file = named.get(wanted)
      if (file === undefined || !files.has(file)) {
        throw new ProtocolError('REFUSED', `this peer does not have ${wanted.slice(0, 12)}`)
      }
      const total = files.sizeOf(file)
      if (offset >= total) {
        throw new ProtocolError('REFUSED', `${file.file} has ${total} bytes, not ${offset + 1}`)
      }
      const body = new Uint8Array(Math.min(length, total - offset))
      files.read(file, offset, body)
      return { answer: { sha256: sha256(body), total }, body }
    },
  })
}
