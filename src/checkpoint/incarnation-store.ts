/**
 * The store of a run as one incarnation sees it. Each incarnation writes and removes checkpoints in a place of its own. It
 * also reads those of its ancestors, up to the step from which the next one was founded. So two incarnations that share a
 * store, until they meet, neither remove nor load what the other one made.
 */
import { type Incarnation, incarnationId } from '../membership/incarnation.ts'
import { CheckpointError } from './error.ts'
import { stepOf } from './steps.ts'
import type { Store, StoredFile } from './store.ts'

/** Begins the names of all files of an incarnation, but those of the one in which the run was founded. */
const PLACE = /^incarnation-[0-9a-f]{12}\//

/** A part of the store, and the last step that is read from it. */
interface Place {
  readonly store: Store
  readonly until: number
}

export class IncarnationStore implements Store {
  readonly location: string
  readonly #store: Store
  readonly #runId: string
  readonly #earlierRuns: readonly string[]
  readonly #incarnation: Incarnation

  /** @param earlierRuns ids of the runs that this one continues with another number of stages */
  constructor(
    store: Store,
    runId: string,
    incarnation: Incarnation,
    earlierRuns: readonly string[] = [],
  ) {
    this.location = store.location
    this.#store = store
    this.#runId = runId
    this.#incarnation = incarnation
    this.#earlierRuns = earlierRuns
  }

  /** Lists each step as the latest incarnation has it. */
  async list(prefix: string): Promise<StoredFile[]> {
    const found: StoredFile[] = []
    const steps = new Set<number>()
    for (const place of this.#places) {
      const files = await place.store.list(prefix)
      const shown = files.filter(({ name }) => isShown(name, place) && !steps.has(stepOf(name)!))
      for (const { name } of shown) steps.add(stepOf(name)!)
      found.push(...shown)
    }
    return found
  }

  async read(name: string, offset: number, into: Uint8Array): Promise<void> {
    let failure = new CheckpointError(`${name} is missing`)
    for (const place of this.#places) {
      if (!isShown(name, place)) continue
      try {
        return await place.store.read(name, offset, into)
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error
        failure = error
      }
    }
    throw failure
  }

  write(name: string, content: readonly Uint8Array[]): Promise<void> {
    return this.#own.write(name, content)
  }

  /** What an ancestor wrote stays: another incarnation may need it. */
  remove(name: string): Promise<void> {
    return this.#own.remove(name)
  }

  get #own(): Store {
    return placeIn(this.#store, this.#prefixOf(this.#incarnation.id))
  }

  /** The incarnation's own place, and then those of its ancestors, the latest first. */
  get #places(): Place[] {
    const { id, lineage } = this.#incarnation
    /** The last step of each place, by prefix. A run and its successor with fewer stages share that of the first one. */
    const untils = new Map<string, number>()
    const add = (incarnation: string, until: number) => {
      const prefix = this.#prefixOf(incarnation)
      if (!untils.has(prefix)) untils.set(prefix, until)
    }
    let last = Number.POSITIVE_INFINITY
    add(id, last)
    for (const run of this.#earlierRuns) add(incarnationId(run, lineage.record), last)
    for (const branch of lineage.branches.toReversed()) {
      // What an ancestor made after a later founding is not part of the history.
      last = Math.min(last, branch.until ?? last)
      add(branch.id, last)
    }
    return [...untils].map(([prefix, until]) => ({ store: placeIn(this.#store, prefix), until }))
  }

  #prefixOf(incarnation: string): string {
    const isFirst = incarnation === this.#runId || this.#earlierRuns.includes(incarnation)
    return isFirst ? '' : `incarnation-${incarnation.slice(0, 12)}/`
  }
}

/** All places of a store, for a reader that is in no incarnation: that of the first one, and then the others by name. */
export async function placesIn(store: Store): Promise<Store[]> {
  const files = await store.list('incarnation-')
  const prefixes = new Set(files.flatMap(({ name }) => PLACE.exec(name)?.[0] ?? []))
  return ['', ...[...prefixes].sort()].map((prefix) => placeIn(store, prefix))
}

function placeIn(store: Store, prefix: string): Store {
  return {
    location: prefix === '' ? store.location : `${store.location}/${prefix.slice(0, -1)}`,
    async list(name) {
      const files = await store.list(prefix + name)
      const own = files.map((file) => ({ ...file, name: file.name.slice(prefix.length) }))
      return own.filter((file) => !PLACE.test(file.name))
    },
    read: (name, offset, into) => store.read(prefix + name, offset, into),
    write: (name, content) => store.write(prefix + name, content),
    remove: (name) => store.remove(prefix + name),
  }
}

function isShown(name: string, { until }: Place): boolean {
  const step = stepOf(name)
  return step !== null && step <= until
}
