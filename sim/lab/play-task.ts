/** A trial on its way to a worker, and its name in the cache. */
import { wholeRecovery } from '../../src/run/run-schema.ts'
import { keyOfValue } from '../jobs/key.ts'
import type { PlayJob } from './play-job.ts'

/** Raise it when trials would come out otherwise than before though their settings are the same. */
const VERSION = 4
/** The same, for trials in which something is lost. */
const LOSSES_VERSION = 2

export interface PlayTask {
  readonly steps: number
  /** For people. */
  readonly name: string
  readonly play: PlayJob
  /** Where relative paths begin. */
  readonly folder: string
  readonly key: string
}

/** @param digest of the run, but for what the trial sets */
export function taskOf(play: PlayJob, folder: string, digest: string): PlayTask {
  const { steps, seed, losses, recovery } = play
  const name = `${recovery.policy?.join(', ') ?? 'no policy'}; seed ${seed}; ${losses.length} losses drawn`
  const version = losses.length === 0 ? { VERSION } : { VERSION, LOSSES_VERSION }
  const key = keyOfValue({ ...version, digest, ...play, recovery: wholeRecovery(recovery) })
  return { steps, name, play, folder, key }
}
