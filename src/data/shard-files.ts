/**
 * The files of a dataset on this machine: those in the dataset's folder, and those in a bounded cache of files from other
 * peers. They are read in place, so that the memory for them is the operating system's cache. The digest of a file is
 * checked before its first byte is used.
 */
import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { replaceFile } from '../base/atomic-file.ts'
import { InputError } from '../base/errors.ts'
import { digestOf } from './tokenizer.ts'

/** A file of a dataset: its name in the dataset's folder, and its digest. */
export interface DataFile {
  readonly file: string
  readonly sha256: string
}

/** The cache of fetched files. */
export interface Cache {
  readonly folder: string
  /** Largest size in bytes. Only files that are used at the same time can exceed it. */
  readonly maxBytes: number
}

/** Largest number of open files. */
const MAX_HANDLES = 64
const CHUNK = 1 << 20

/** Reads the files of one dataset. */
export class ShardFiles {
  readonly #folder: string | null
  readonly #cache: Cache | null
  /** Open files by digest. The file that was used last stands at the end. */
  readonly #handles = new Map<string, number>()
  readonly #verified = new Set<string>()
  /** Sizes of the cached files by digest, in bytes. The file that was used last stands at the end. */
  readonly #cached = new Map<string, number>()
  /** Number of uses in progress of each file. A file in use is not dropped from the cache. */
  readonly #pins = new Map<string, number>()
  readonly #arriving = new Map<string, Promise<void>>()

  /**
   * @param folder folder of the dataset; null if it is not on this machine
   * @param cache the cache of fetched files; null if no file is fetched
   */
  constructor(folder: string | null, cache: Cache | null = null) {
    this.#folder = folder
    this.#cache = cache
    if (cache === null) return
    mkdirSync(cache.folder, { recursive: true })
    for (const name of readdirSync(cache.folder)) {
      if (/^[0-9a-f]{64}$/.test(name)) {
        this.#cached.set(name, statSync(join(cache.folder, name)).size)
      }
    }
  }

  /**
   * Tells whether the file is on this machine. A damaged file in the cache is removed, and fetched again later. A damaged
   * file in the dataset's folder counts: reading it reports the damage to the user.
   */
  has(wanted: DataFile): boolean {
    if (!this.#cached.has(wanted.sha256)) return this.#pathOf(wanted) !== null
    try {
      this.#open(wanted)
    } catch (error) {
      if (!(error instanceof InputError)) throw error
    }
    return this.#pathOf(wanted) !== null
  }

  /** Fills `into` with the bytes from `offset`. @throws InputError if the file is missing or damaged */
  read(wanted: DataFile, offset: number, into: Uint8Array): void {
    const handle = this.#open(wanted)
    for (let done = 0; done < into.length; ) {
      const count = readSync(handle, into, done, into.length - done, offset + done)
      if (count === 0) throw new InputError(`${wanted.file} ends at byte ${offset + done}.`)
      done += count
    }
  }

  /** Size of a file in bytes. @throws InputError if the file is missing or damaged */
  sizeOf(wanted: DataFile): number {
    return fstatSync(this.#open(wanted)).size
  }

  /**
   * Fetches the missing files of `wanted` into the cache, and then calls `read`. A file that several callers wait for is
   * fetched once.
   */
  async use<T>(
    wanted: readonly DataFile[],
    fetch: (file: DataFile) => Promise<Uint8Array>,
    read: () => T,
  ): Promise<T> {
    for (const { sha256 } of wanted) this.#pins.set(sha256, (this.#pins.get(sha256) ?? 0) + 1)
    try {
      for (const file of wanted) if (!this.has(file)) await this.#arrival(file, fetch)
      return read()
    } finally {
      for (const { sha256 } of wanted) {
        const pins = this.#pins.get(sha256)! - 1
        if (pins > 0) this.#pins.set(sha256, pins)
        else this.#pins.delete(sha256)
      }
    }
  }

  close(): void {
    for (const handle of this.#handles.values()) closeSync(handle)
    this.#handles.clear()
  }

  #arrival(file: DataFile, fetch: (file: DataFile) => Promise<Uint8Array>): Promise<void> {
    const { sha256 } = file
    let arriving = this.#arriving.get(sha256)
    if (arriving === undefined) {
      arriving = fetch(file)
        .then((bytes) => this.#keep(file, bytes))
        .finally(() => this.#arriving.delete(sha256))
      this.#arriving.set(sha256, arriving)
    }
    return arriving
  }

  #keep({ file, sha256 }: DataFile, bytes: Uint8Array): void {
    if (this.#cache === null) throw new Error(`${file} was fetched without a cache to keep it in`)
    if (digestOf(bytes) !== sha256) throw new Error(`${file} was fetched damaged`)
    const { folder, maxBytes } = this.#cache
    let total = [...this.#cached.values()].reduce((sum, own) => sum + own, bytes.length)
    for (const [old, size] of this.#cached) {
      if (total <= maxBytes) break
      if (this.#pins.has(old)) continue
      this.#forget(old)
      total -= size
    }
    replaceFile(join(folder, sha256), bytes)
    this.#cached.set(sha256, bytes.length)
    this.#verified.add(sha256)
  }

  #forget(sha256: string): void {
    const handle = this.#handles.get(sha256)
    if (handle !== undefined) closeSync(handle)
    this.#handles.delete(sha256)
    this.#cached.delete(sha256)
    this.#verified.delete(sha256)
    rmSync(join(this.#cache!.folder, sha256), { force: true })
  }

  #pathOf({ file, sha256 }: DataFile): string | null {
    if (this.#cached.has(sha256)) return join(this.#cache!.folder, sha256)
    const path = this.#folder === null ? null : join(this.#folder, file)
    return path !== null && existsSync(path) ? path : null
  }

  #open(wanted: DataFile): number {
    const { file, sha256 } = wanted
    const known = this.#handles.get(sha256)
    if (known !== undefined) {
      this.#touch(this.#handles, sha256)
      if (this.#cached.has(sha256)) this.#touch(this.#cached, sha256)
      return known
    }
    const path = this.#pathOf(wanted)
    if (path === null) {
      throw new InputError(
        `${this.#folder === null ? file : join(this.#folder, file)} is missing: restore it, or prepare the data again.`,
      )
    }
    const handle = openSync(path, 'r')
    try {
      if (!this.#verified.has(sha256)) this.#verify(handle, path, sha256)
    } catch (error) {
      closeSync(handle)
      if (this.#cached.has(sha256)) this.#forget(sha256)
      throw error
    }
    for (const [old, oldHandle] of this.#handles) {
      if (this.#handles.size < MAX_HANDLES) break
      closeSync(oldHandle)
      this.#handles.delete(old)
    }
    this.#handles.set(sha256, handle)
    return handle
  }

  #touch<T>(map: Map<string, T>, key: string): void {
    const value = map.get(key)!
    map.delete(key)
    map.set(key, value)
  }

  #verify(handle: number, path: string, sha256: string): void {
    const hash = createHash('sha256')
    const buffer = Buffer.allocUnsafe(CHUNK)
    for (let at = 0; ; ) {
      const count = readSync(handle, buffer, 0, CHUNK, at)
      if (count === 0) break
      hash.update(buffer.subarray(0, count))
      at += count
    }
    const found = hash.digest('hex')
    if (found !== sha256) {
      throw new InputError(
        `${path} is damaged: its SHA-256 is ${found}, the dataset says ${sha256}. ` +
          'Restore the original file, or prepare the data again.',
      )
    }
    this.#verified.add(sha256)
  }
}
