/** Finds a step in a store for a reader that is in no incarnation of the run, such as `join --resume` and `reshard`. */
import type { Origin } from '../../protocols/membership.ts'
import { CheckpointError } from './error.ts'
import { placesIn } from './incarnation-store.ts'
import { type Manifest, originOf } from './manifest.ts'
import { type LatestOptions, latestComplete, openStep } from './steps.ts'
import type { Store } from './store.ts'

/** A step, and the part of the store that has its files. */
export interface Found {
  readonly manifest: Manifest
  readonly place: Store
}

/** The latest complete step of any incarnation; null if there is none. Of equal steps the one whose place comes first. */
export async function findLatest(store: Store, options: LatestOptions): Promise<Found | null> {
  let latest: Found | null = null
  for (const place of await placesIn(store)) {
    const manifest = await latestComplete(place, options)
    if (manifest !== null && manifest.step > (latest?.manifest.step ?? -1)) {
      latest = { manifest, place }
    }
  }
  return latest
}

/**
 * Opens a step of any incarnation.
 * @param origin names the manifest, if the step alone does not say which incarnation's it is
 * @throws CheckpointError that says what is wrong with the step
 */
export async function findStep(store: Store, step: number, origin?: Origin): Promise<Found> {
  let failure: CheckpointError | null = null
  for (const place of await placesIn(store)) {
    try {
      const manifest = await openStep(place, step)
      if (origin === undefined || originOf(manifest).sha256 === origin.sha256) {
        return { manifest, place }
      }
      failure = new CheckpointError(
        `${store.location}: step ${step} is not the checkpoint that the run was started from`,
      )
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error
      failure ??= error
    }
  }
  throw failure!
}
