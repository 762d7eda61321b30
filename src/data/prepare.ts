/**
 * `gensyn-node prepare`: documents into tokens, once, into a folder that is whole or absent. Memory does not grow with
 * the text: what is held at a time is a part of a document, a row group of Parquet, and a buffer a stream.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { InputError, systemCode } from '../base/errors.ts'
import type { Part } from './cut.ts'
import {
  DATASET_FILE,
  type Dataset,
  encodeDataset,
  isPrepared,
  MAX_SOURCES,
  TOKENIZER_FILE,
} from './dataset.ts'
import { type ShardFormat, ShardWriter } from './shard-writer.ts'
import { fileDigest, findSource, readDocuments, type Source } from './sources.ts'
import { digestOf, loadTokenizer, type Tokenizer } from './tokenizer.ts'

/** Of 16 or 8 MiB: large enough that a thousand name a terabyte's tenth, small enough that one is fetched in seconds. */
const SHARD_TOKENS = 1 << 22

export interface PrepareOptions {
  /** Files, folders or patterns. */
  readonly sources: readonly string[]
  /** Shares of the sources in what is trained on, in their order; undefined goes by their tokens. */
  readonly weights?: readonly number[] | undefined
  /** `bytes`, or the path of a tokenizer.json. */
  readonly tokenizer: string
  readonly endOfText?: string | undefined
  /** Of JSON Lines and Parquet. */
  readonly field: string
  readonly heldOut: number
  /** The folder to make. */
  readonly out: string
  /** Replace a dataset that is there. */
  readonly force: boolean
  /** For tests. */
  readonly shardTokens?: number
  /** Hears of each file as it is done with. */
  readonly onFile?: (file: { readonly path: string; readonly bytes: number }) => void
}

/** Prepared, but not in its place yet. */
export interface Prepared {
  readonly dataset: Dataset
  readonly sha256: string
  /** Gives the folder its name. @throws InputError if that is taken */
  keep(): void
  discard(): void
}

/** @throws InputError for sources, a tokenizer or a place that will not do; then nothing is left behind */
export async function prepare(options: PrepareOptions): Promise<Prepared> {
  const { weights, heldOut, out, force } = options
  checkPlace(out, force)
  if (weights !== undefined && weights.length !== options.sources.length) {
    throw new InputError(
      `--weights has ${weights.length} numbers for ${options.sources.length} sources: give one for each.`,
    )
  }
  if (options.sources.length > MAX_SOURCES) {
    throw new InputError(
      `${options.sources.length} sources are more than ${MAX_SOURCES}: name folders or patterns instead of files.`,
    )
  }
  const sources = options.sources.map(findSource)
  const tokenizer = loadTokenizer(options.tokenizer, options.endOfText)
  const folder = `${resolve(out)}.${process.pid}.tmp`
  const discard = () => rmSync(folder, { recursive: true, force: true })
  try {
    makeFolder(folder, out)
    const format: ShardFormat = {
      folder,
      bytesPerToken: tokenizer.vocabSize <= 1 << 16 ? 2 : 4,
      shardTokens: options.shardTokens ?? SHARD_TOKENS,
    }
    const done: Omit<Dataset['sources'][number], 'weight'>[] = []
    for (const [index, source] of sources.entries()) {
      done.push(await prepareSource(source, `s${index}`, tokenizer, format, options))
    }
    const shares = sharesOf(done, weights)
    const { json } = tokenizer
    if (json !== null) writeFileSync(join(folder, TOKENIZER_FILE), json)
    const dataset: Dataset = {
      format: 'gensyn-dataset',
      version: 1,
      tokenizer: {
        kind: json === null ? 'bytes' : 'json',
        sha256: json === null ? null : digestOf(json),
        vocabSize: tokenizer.vocabSize,
        endOfText: tokenizer.endOfText,
      },
      bytesPerToken: format.bytesPerToken,
      shardTokens: format.shardTokens,
      heldOut,
      sources: done.map((source, index) => ({ ...source, weight: shares[index]! })),
    }
    const encoded = encodeDataset(dataset)
    writeFileSync(join(folder, DATASET_FILE), encoded)
    const keep = () => {
      checkPlace(out, force)
      // Between the two the old one is away; what is there is always one of them, whole.
      const old = `${folder}.old`
      if (existsSync(out)) renameSync(out, old)
      renameSync(folder, out)
      rmSync(old, { recursive: true, force: true })
    }
    return { dataset, sha256: digestOf(encoded), keep, discard }
  } catch (error) {
    discard()
    throw error
  }
}

async function prepareSource(
  { name, files }: Source,
  prefix: string,
  tokenizer: Tokenizer,
  format: ShardFormat,
  { field, heldOut, onFile }: PrepareOptions,
) {
  const streams = new Streams(format, prefix, tokenizer, heldOut)
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
    const { train, heldOut: held } = streams.finish()
    const bytes = digests.reduce((sum, file) => sum + file.bytes, 0)
    if (train.tokens + held.tokens === 0) throw new InputError(`${name} has no text in it.`)
    return { name, bytes, files: digests, train, heldOut: held }
  } catch (error) {
    streams.abandon()
    throw error
  }
}

/** Deals the parts of documents out to what is trained on and what is held out. */
class Streams {
  readonly #train: ShardWriter
  readonly #heldOut: ShardWriter
  readonly #tokenizer: Tokenizer
  /** Of 2^32. */
  readonly #threshold: number
  /** Where the part before went; null between documents. */
  #last: ShardWriter | null = null

  constructor(format: ShardFormat, prefix: string, tokenizer: Tokenizer, heldOut: number) {
    this.#train = new ShardWriter(format, `${prefix}-train`)
    this.#heldOut = new ShardWriter(format, `${prefix}-held-out`)
    this.#tokenizer = tokenizer
    this.#threshold = heldOut * 2 ** 32
  }

  add({ data, continues, last }: Part): void {
    const { encode, endOfText } = this.#tokenizer
    // By content: a document that comes twice is not trained on and held out too.
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

/** What part of the training each source has. @throws InputError for a source without anything to train on */
function sharesOf(
  sources: readonly Omit<Dataset['sources'][number], 'weight'>[],
  weights: readonly number[] | undefined,
): number[] {
  for (const { name, train } of sources) {
    if (train.tokens > 0) continue
    throw new InputError(`${name}: all of it is held out. Lower --held-out, or bring more text.`)
  }
  const parts = weights ?? sources.map(({ train }) => train.tokens)
  const sum = parts.reduce((total, part) => total + part, 0)
  return parts.map((part) => part / sum)
}

function checkPlace(out: string, force: boolean): void {
  if (!existsSync(out)) return
  if (!isPrepared(out))
    throw new InputError(`${out} exists, and is no dataset. Choose another --out.`)
  if (!force)
    throw new InputError(`${out} exists. Choose another --out, or replace it with --force.`)
}

function makeFolder(folder: string, out: string): void {
  try {
    removeLeftovers(out)
    mkdirSync(folder)
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    const what = code === 'ENOENT' ? `${dirname(resolve(out))} does not exist` : code
    throw new InputError(`${out} cannot be written: ${what}. Choose another --out.`)
  }
}

/** What processes that were killed have left of their work on this dataset, this process's own included. */
function removeLeftovers(out: string): void {
  const folder = dirname(resolve(out))
  for (const name of readdirSync(folder)) {
    if (!name.startsWith(`${basename(out)}.`)) continue
    const [, pid] = /^\.(\d+)\.tmp$/.exec(name.slice(basename(out).length)) ?? []
    if (pid === undefined || (Number(pid) !== process.pid && isRunning(Number(pid)))) continue
    rmSync(join(folder, name), { recursive: true, force: true })
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return systemCode(error) !== 'ESRCH'
  }
}
