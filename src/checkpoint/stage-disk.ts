/**
 * The states of stages on a peer's own disk: its own stage's, and the copies that it keeps for others. Files are whole or
 * absent. Those of earlier processes are read and checked once, when the peer starts.
 */
import type { Holding } from '../../protocols/copies.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { History } from '../../protocols/return.ts'
import { type StateFacts, sha256 } from '../../protocols/weights.ts'
import { DISK_BYTES_MAX } from '../base/limits.ts'
import { CheckpointError } from './error.ts'
import type { YieldToLoop } from './lazy-snapshot.ts'
import { isRemains, readRemains, removeRemains, writeRemains } from './remains.ts'
import {
  checkFile,
  encodeFile,
  fileOf,
  HEADER_BYTES,
  isStateFile,
  type SavedState,
} from './state-file.ts'
import type { Store, StoredFile } from './store.ts'

export interface StageDiskOptions {
  /** The peer's folder for states. */
  readonly store: Store
  /** Called between two pieces of long work; resolves after other work of this thread has run. */
  readonly pause: YieldToLoop
  /** Most bytes of all files together. @default DISK_BYTES_MAX */
  readonly bytesMax?: number
}

/** A file that is whole. */
interface Saved {
  readonly state: SavedState
  /** Size of the whole file in bytes. */
  readonly bytes: number
}

export class StageDisk {
  /** Resolves when the files of earlier processes are checked, with the reason for each file that was refused. */
  readonly scanned: Promise<readonly string[]>
  readonly #options: StageDiskOptions
  readonly #files = new Map<string, Saved>()
  #history: History | null = null

  constructor(options: StageDiskOptions) {
    this.#options = options
    this.scanned = this.#scan()
  }

  /** The states that are here. Before {@link scanned} resolves, some may be left out. */
  get holdings(): Holding[] {
    return [...this.#files.values()].map(({ state }) => holdingOf(state))
  }

  /** The history that the states belong to; null before {@link scanned} resolves, and if the disk has none. */
  get history(): History | null {
    return this.#history
  }

  /** Keeps the history that the states belong to. The promise resolves when it is durable. @throws system errors */
  async remember(history: History): Promise<void> {
    await writeRemains(this.#options.store, history)
    this.#history = history
  }

  /** Removes everything. @throws system errors */
  async clear(): Promise<void> {
    this.#history = null
    await removeRemains(this.#options.store)
    await this.retain(() => false)
  }

  /**
   * Writes a state. The promise resolves when it is durable.
   * @returns size of the file in bytes
   * @throws CheckpointError if the disk has no room within its bound, or the state is not finite; and system errors
   */
  async write(state: SavedState, parts: readonly Uint8Array[]): Promise<number> {
    // The scan removes files that are not whole, such as one that is being written.
    await this.scanned
    const { store, pause, bytesMax = DISK_BYTES_MAX } = this.#options
    const name = fileOf(state)
    const bytes = parts.reduce((sum, { length }) => sum + length, HEADER_BYTES)
    const others = [...this.#files].filter(([other]) => other !== name)
    const taken = others.reduce((sum, [, file]) => sum + file.bytes, 0)
    if (taken + bytes > bytesMax) {
      throw new CheckpointError(
        `${store.location}: ${taken + bytes} bytes of states would be more than ${bytesMax}`,
      )
    }
    await store.write(name, await encodeFile(state, parts, pause))
    this.#files.set(name, { state, bytes })
    return bytes
  }

  /**
   * A chunk of a state's encoded bytes.
   * @throws ProtocolError STALE if the state is not here or cannot be read, WRONG_SHAPE if it is shorter
   */
  async read(
    holding: Holding,
    offset: number,
    length: number,
  ): Promise<{ answer: StateFacts & { sha256: string }; body: Uint8Array }> {
    const file = fileOf(holding)
    const found = this.#files.get(file)
    const what = `the state of stage ${holding.stage} after step ${holding.step}`
    if (found === undefined) throw new ProtocolError('STALE', `${what} is not on this disk`)
    const { state, bytes } = found
    if (HEADER_BYTES + offset + length > bytes) {
      throw new ProtocolError('WRONG_SHAPE', `${what} has ${bytes - HEADER_BYTES} bytes`)
    }
    const body = new Uint8Array(length)
    try {
      await this.#options.store.read(file, HEADER_BYTES + offset, body)
    } catch (error) {
      // The next question for what is here must not name it again.
      this.#files.delete(file)
      const reason = `${what} cannot be read from this disk: ${(error as Error).message}`
      throw new ProtocolError('STALE', reason, { cause: error })
    }
    const { norm, updates, learningRateScale } = state
    return { answer: { norm, updates, learningRateScale, sha256: sha256(body) }, body }
  }

  /** Removes all states but those that stay. @throws system errors */
  async retain(stays: (holding: Holding) => boolean): Promise<void> {
    for (const [name, { state }] of [...this.#files]) {
      if (stays(holdingOf(state))) continue
      this.#files.delete(name)
      await this.#options.store.remove(name)
    }
  }

  async #scan(): Promise<string[]> {
    const { store } = this.#options
    const refused: string[] = []
    try {
      this.#history = await readRemains(store)
      for (const file of await store.list('')) {
        if (isRemains(file.name)) continue
        if (isStateFile(file.name))
          await this.#check(file).catch((why) => refused.push(why.message))
        else await store.remove(file.name)
      }
    } catch (error) {
      refused.push(`${store.location} cannot be read: ${(error as Error).message}`)
    }
    return refused
  }

  /** Takes a file of an earlier process in. @throws CheckpointError if it is damaged, and system errors */
  async #check(file: StoredFile): Promise<void> {
    const { store, pause } = this.#options
    const { name, bytes } = file
    try {
      this.#files.set(name, { state: await checkFile(store, file, pause), bytes })
    } catch (error) {
      // A file that cannot be read for another reason may be readable the next time.
      if (error instanceof CheckpointError) await store.remove(name)
      throw error
    }
  }
}

function holdingOf({ strategy, stage, step, shard, run, loss }: SavedState): Holding {
  return { strategy, stage, step, shard, run, loss }
}
