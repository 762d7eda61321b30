/** A trial on its way to a worker, and its name in the cache. */
import type { Run } from '../../src/run/run.ts'
import { wholeRecovery } from '../../src/run/run-schema.ts'
import { keyOfValue } from '../jobs/key.ts'
import type { Task } from './outcomes.ts'
import type { PlayJob } from './play-job.ts'

/** Raise it when trials would come out otherwise than before though their settings are the same. */
const VERSION = 3
/** The same, for trials in which something is lost. */
const LOSSES_VERSION = 2

export interface PlayTask extends Task {
  readonly play: PlayJob
  /** Where relative paths begin. */
  readonly folder: string
}

/** A digest of a run, but for what a trial sets. */
export function digestOf({ recovery: _, seed, steps, ...others }: Run): string {
  return keyOfValue(others)
}

/** @param digest of the run, but for what the trial sets */
export function taskOf(play: PlayJob, folder: string, digest: string): PlayTask {
  const { steps, seed, losses, deaths = [], recovery } = play
  const name = `${recovery.policy?.join(', ') ?? 'no policy'}; seed ${seed}; ${losses.length} losses drawn`
  const isCalm = losses.length + deaths.length === 0
  const version = isCalm ? { VERSION } : { VERSION, LOSSES_VERSION }
  const key = keyOfValue({ ...version, digest, ...play, recovery: wholeRecovery(recovery) })
  return { steps, name, play, folder, key }
}
