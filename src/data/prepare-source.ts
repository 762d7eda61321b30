/** Prepares one source: tokenizes its documents, and writes them into a training stream and a held-out stream. */
import { createHash } from 'node:crypto'
import { InputError } from '../base/errors.ts'
import type { Part } from './cut.ts'
import type { Dataset } from './dataset.ts'
import { type ShardFormat, ShardWriter } from './shard-writer.ts'
import { fileDigest, readDocuments, type Source } from './sources.ts'
import type { Tokenizer } from './tokenizer.ts'

/** A source of dataset.json without its share of the training. */
export type PreparedSource = Omit<Dataset['sources'][number], 'weight'>

/** Options for reading and dividing the documents of a source. */
export interface PrepareSourceOptions {
  readonly tokenizer: Tokenizer
  readonly format: ShardFormat
  /** First part of the shards' file names. */
  readonly prefix: string
  /** Field of JSON Lines, or column of Parquet, with the text. */
  readonly field: string
  /** Share of documents that is held out. */
  readonly heldOut: number
  /** Called with each file after it was read. */
  readonly onFile?: ((file: { readonly path: string; readonly bytes: number }) => void) | undefined
}

/**
 * Writes the shards of a source, and describes them.
 * @throws InputError if a file cannot be read, or the source has no text
 */
export async function prepareSource(
  { name, files }: Source,
  options: PrepareSourceOptions,
): Promise<PreparedSource> {
  const { tokenizer, field, onFile } = options
  const streams = new Streams(options)
  const digests: { name: string; sha256: string; bytes: number }[] = []
  try {
    for (const file of files) {
      const digest = fileDigest()
      let bytes = 0
      const onChunk = (chunk: Uint8Array) => {
        digest.add(chunk)
        bytes += chunk.length
      }
      const reading = { field, bytes: tokenizer.json === null, onChunk }
      for await (const part of readDocuments(file.path, reading)) streams.add(part)
      digests.push({ name: file.name, sha256: digest.hex(), bytes })
      onFile?.({ path: file.path, bytes })
    }
    const { train, heldOut } = streams.finish()
    const bytes = digests.reduce((sum, file) => sum + file.bytes, 0)
    if (train.tokens + heldOut.tokens === 0) throw new InputError(`${name} contains no text.`)
    return { name, bytes, files: digests, train, heldOut }
  } catch (error) {
    streams.abandon()
    throw error
  }
}

/** Distributes the parts of documents between the training stream and the held-out stream. */
class Streams {
  readonly #train: ShardWriter
  readonly #heldOut: ShardWriter
  readonly #tokenizer: Tokenizer
  /** A part is held out if the first 32 bits of its digest are below this number. */
  readonly #threshold: number
  /** Stream of the last part; null between documents. */
  #last: ShardWriter | null = null

  constructor({ format, prefix, tokenizer, heldOut }: PrepareSourceOptions) {
    this.#train = new ShardWriter(format, `${prefix}-train`)
    this.#heldOut = new ShardWriter(format, `${prefix}-held-out`)
    this.#tokenizer = tokenizer
    this.#threshold = heldOut * 2 ** 32
  }

  add({ data, continues, last }: Part): void {
    const { encode, endOfText } = this.#tokenizer
    // The content decides, so that two copies of a document are in the same stream.
    const digest = createHash('sha256').update(data).digest().readUInt32LE(0)
    const writer = digest < this.#threshold ? this.#heldOut : this.#train
    if (this.#last !== null && this.#last !== writer) this.#last.endDocument(endOfText)
    writer.add(encode(data, continues))
    this.#last = last ? null : writer
    if (last) writer.endDocument(endOfText)
  }

  finish() {
    return { train: this.#train.finish(), heldOut: this.#heldOut.finish() }
  }

  abandon(): void {
    this.#train.abandon()
    this.#heldOut.abandon()
  }
}
