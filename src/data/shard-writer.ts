/** Writes the tokens of one stream into shards of equal size. Each shard is flushed to disk before its digest is given. */
import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Shard, Stream } from './dataset.ts'

/** Number of tokens in the buffer. */
const BUFFER = 64 * 1024

/** Folder and layout of the shards. */
export interface ShardFormat {
  readonly folder: string
  readonly bytesPerToken: 2 | 4
  readonly shardTokens: number
}

/** Writer of one stream. */
export class ShardWriter {
  readonly #format: ShardFormat
  readonly #prefix: string
  readonly #shards: Shard[] = []
  readonly #buffer: Uint16Array | Uint32Array
  #buffered = 0
  #tokens = 0
  #documents = 0
  #open: {
    readonly file: number
    readonly name: string
    readonly hash: ReturnType<typeof createHash>
  } | null = null
  #written = 0

  /** @param prefix first part of the shards' file names */
  constructor(format: ShardFormat, prefix: string) {
    this.#format = format
    this.#prefix = prefix
    this.#buffer = format.bytesPerToken === 2 ? new Uint16Array(BUFFER) : new Uint32Array(BUFFER)
  }

  add(tokens: ArrayLike<number>): void {
    for (let i = 0; i < tokens.length; i++) {
      this.#buffer[this.#buffered++] = tokens[i]!
      if (this.#buffered === BUFFER) this.#flush()
    }
    this.#tokens += tokens.length
  }

  endDocument(endOfText: number): void {
    this.add([endOfText])
    this.#documents++
  }

  /** Writes the rest, and describes the stream. */
  finish(): Stream {
    this.#flush()
    this.#close()
    return { tokens: this.#tokens, documents: this.#documents, shards: this.#shards }
  }

  /** Closes the open file. The caller removes the folder. */
  abandon(): void {
    if (this.#open !== null) closeSync(this.#open.file)
    this.#open = null
  }

  #flush(): void {
    const { shardTokens } = this.#format
    for (let from = 0; from < this.#buffered; ) {
      const end = Math.min(this.#buffered, from + shardTokens - this.#written)
      this.#write(this.#buffer.subarray(from, end))
      if (this.#written === shardTokens) this.#close()
      from = end
    }
    this.#buffered = 0
  }

  #write(tokens: Uint16Array | Uint32Array): void {
    this.#open ??= this.#create()
    const bytes = new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength)
    for (let done = 0; done < bytes.length; ) done += writeSync(this.#open.file, bytes, done)
    this.#open.hash.update(bytes)
    this.#written += tokens.length
  }

  #create() {
    const name = `${this.#prefix}-${String(this.#shards.length).padStart(6, '0')}.bin`
    const file = openSync(join(this.#format.folder, name), 'wx')
    return { file, name, hash: createHash('sha256') }
  }

  #close(): void {
    if (this.#open === null) return
    const { file, name, hash } = this.#open
    fsyncSync(file)
    closeSync(file)
    this.#shards.push({ file: name, sha256: hash.digest('hex'), tokens: this.#written })
    this.#open = null
    this.#written = 0
  }
}
