/** A trial in the form that goes to a worker, with its name in the cache. */
import type { Run } from '../../src/run/run.ts'
import { wholeRecovery } from '../../src/run/run-schema.ts'
import { keyOfValue } from '../jobs/key.ts'
import type { Task } from './outcomes.ts'
import type { PlayJob } from './play-job.ts'

/** Version of outcomes. Raise it when trials with the same settings give other outcomes than before. */
const VERSION = 3
/** Version of the outcomes of trials that have losses. */
const LOSSES_VERSION = 3

export interface PlayTask extends Task {
  readonly play: PlayJob
  /** Folder where relative paths begin. */
  readonly folder: string
}

/** Digest of a run without the settings that a trial changes. */
export function digestOf({ recovery: _, seed, steps, ...others }: Run): string {
  return keyOfValue(others)
}

/** @param digest of the run without the settings that the trial changes */
export function taskOf(play: PlayJob, folder: string, digest: string): PlayTask {
  const { steps, seed, losses, deaths = [], recovery } = play
  const name = `${recovery.policy?.join(', ') ?? 'no policy'}; seed ${seed}; ${losses.length} losses drawn`
  const isCalm = losses.length + deaths.length === 0
  const version = isCalm ? { VERSION } : { VERSION, LOSSES_VERSION }
  const key = keyOfValue({ ...version, digest, ...play, recovery: wholeRecovery(recovery) })
  return { steps, name, play, folder, key }
}
