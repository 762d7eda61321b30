/** Fetches the stages of a running swarm into files on this machine, over libp2p and without joining the swarm. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock as clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { fetchShard } from '../../protocols/shards.ts'
import { layoutOf } from '../../stages/parameters.ts'
import { InputError } from '../base/errors.ts'
import { TIMEOUTS } from '../base/limits.ts'
import {
  DATASET_FILE,
  isPrepared,
  MAX_DATASET_BYTES,
  parseDataset,
  TOKENIZER_FILE,
} from '../data/dataset.ts'
import { preparedFolder } from '../data/prepared-corpus.ts'
import { MAX_TOKENIZER_BYTES } from '../data/tokenizer.ts'
import { openDoor } from '../run/door.ts'
import { type Run, runId, stageConfig } from '../run/run.ts'
import { asGuest, type GuestOptions } from './guest.ts'
import { currentRoster, fetchWeights, type LiveWeightsOptions } from './live-weights.ts'
import { writeStage } from './stage-file.ts'

/** The fetched files. */
export interface LiveStages {
  /** Step after which the weights of all stages were copied. */
  readonly step: number
  /** Path of the file of each stage, from stage 0 on. */
  readonly paths: readonly string[]
  /** Folder with the dataset.json and the tokenizer of the run's dataset; null for a run on plain text. */
  readonly dataset: string | null
  /** Removes the files. */
  remove(): void
}

export interface LiveOptions extends Pick<GuestOptions, 'addresses' | 'dataDir'> {
  /** File with the run's secret; undefined for the file beside the manifest. */
  readonly secretFile?: string | undefined
}

/**
 * Fetches all stages into a temporary folder. Memory contains one stage at a time.
 * @throws InputError if no peer can be reached, or no attempt got every stage at the same step
 */
export async function fetchStages(
  run: Run,
  runPath: string,
  { addresses, dataDir, secretFile }: LiveOptions,
): Promise<LiveStages> {
  const id = runId(run)
  const door = openDoor(run, runPath, secretFile)
  const folder = mkdtempSync(join(tmpdir(), 'gensyn-live-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  const paths: string[] = []
  try {
    const guest = { runId: id, door, addresses, dataDir, option: '--peer', clock }
    return await asGuest(guest, async (network, contacts) => {
      const options = { network, clock, run, runId: id, contacts }
      const step = await fetchWeights(options, ({ index, step, weights }) => {
        const { parameters } = layoutOf(stageConfig(run), index)
        paths[index] = writeStage(folder, { parameters, weights }, { run: id, stage: index, step })
      })
      const here = preparedFolder(run, runPath)
      if (here === null || isPrepared(here)) return { step, paths, dataset: here, remove }
      await fetchTokenizer(options, folder)
      return { step, paths, dataset: folder, remove }
    })
  } catch (error) {
    remove()
    if (!(error instanceof ProtocolError)) throw error
    throw new InputError(
      `The weights cannot be fetched from the running swarm: ${error.message}. Try again, or leave out --peer ` +
        'if the run has ended.',
      { cause: error },
    )
  }
}

/** Fetches the dataset.json and the tokenizer of a dataset that is not on this machine. */
async function fetchTokenizer(options: LiveWeightsOptions, folder: string): Promise<void> {
  const { network, run, runId: id } = options
  const {
    roster: { members },
  } = await currentRoster(options)
  const fetched = async (name: string, sha256: string, maxBytes: number) => {
    const donors = members.map(({ peer }) => peer)
    const each = { chunkTimeoutMs: TIMEOUTS.chunkMs, maxBytes }
    const bytes = await fetchShard(network, donors, { run: id, sha256 }, each)
    writeFileSync(join(folder, name), bytes)
    return bytes
  }
  const json = await fetched(DATASET_FILE, run.data.sha256, MAX_DATASET_BYTES)
  const { sha256 } = parseDataset(json, run.data.source).tokenizer
  if (sha256 !== null) await fetched(TOKENIZER_FILE, sha256, MAX_TOKENIZER_BYTES)
}
