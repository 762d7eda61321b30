/** Opens the store that a user names: `s3://BUCKET/PREFIX` or a folder. */
import type { Clock } from '../../protocols/clock.ts'
import { InputError } from '../base/errors.ts'
import { type Run, runId } from '../run/run.ts'
import { DirectoryStore } from './directory-store.ts'
import { findLatest } from './find-step.ts'
import { S3Store } from './s3-store.ts'
import type { Store } from './store.ts'

export interface StoreContext {
  readonly clock: Clock
  /** Environment variables, with credentials, region and endpoint under the names that S3 tools use. */
  readonly env: Readonly<Record<string, string | undefined>>
}

export interface Checkpoints {
  /** Null if the run's policy does not have `checkpoint`. */
  readonly store: Store | null
  /** The run that saved the last step, if it differs only in its number of stages; otherwise null. */
  readonly savedBy: Run | null
}

/**
 * Opens the store of a run's checkpoints.
 * @throws InputError if the policy names them and no place is given, or if the place has checkpoints of another run
 */
export async function openCheckpoints(
  run: Run,
  location: string | undefined,
  context: StoreContext,
): Promise<Checkpoints> {
  const named = run.recovery.policy.includes('checkpoint')
  if (location === undefined) {
    if (!named) return { store: null, savedBy: null }
    throw new InputError(
      "This run's recovery.policy names checkpoint: say by --checkpoints where they lie, a folder that all peers see or s3://BUCKET/PREFIX.",
    )
  }
  if (!named) {
    throw new InputError(
      `--checkpoints ${location}: this run's recovery.policy does not name checkpoint, so that none would be written. Name it there, or leave the option out.`,
    )
  }
  const store = openStore(location, context)
  const last = (await findLatest(store, { depth: 'lengths' }))?.manifest ?? null
  if (last === null || runId(last.run) === runId(run)) return { store, savedBy: null }
  if (isSameButStages(last.run, run)) return { store, savedBy: last.run }
  throw new InputError(
    `--checkpoints ${location} has those of another run, ${runId(last.run).slice(0, 12)}. Choose another place.`,
  )
}

function isSameButStages({ recovery, ...other }: Run, run: Run): boolean {
  const { stages } = run
  const { policy } = run.recovery
  return runId({ ...other, stages, recovery: { ...recovery, policy } }) === runId(run)
}

/** @throws InputError if the address does not name a bucket, or credentials are missing */
export function openStore(location: string, { clock, env }: StoreContext): Store {
  if (!location.startsWith('s3://')) return new DirectoryStore(location)
  const [bucket, ...folders] = location.slice('s3://'.length).split('/').filter(Boolean)
  if (bucket === undefined) {
    throw new InputError(`${location} names no bucket: write s3://BUCKET/PREFIX.`)
  }
  const required = (name: string): string => {
    const value = env[name]
    if (value) return value
    throw new InputError(`${location} needs ${name} in the environment.`)
  }
  const options = {
    bucket,
    prefix: folders.map((folder) => `${folder}/`).join(''),
    region: env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? 'us-east-1',
    endpoint: env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL ?? null,
    accessKeyId: required('AWS_ACCESS_KEY_ID'),
    secretAccessKey: required('AWS_SECRET_ACCESS_KEY'),
    sessionToken: env.AWS_SESSION_TOKEN,
  }
  return new S3Store(options, clock)
}
