/**
 * `gensyn-node prepare`: turns documents into a dataset of tokens, once. The dataset's folder is either whole or absent.
 * Memory does not grow with the text: it contains a part of a document, a row group of Parquet and a buffer a stream.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { InputError, systemCode } from '../base/errors.ts'
import {
  DATASET_FILE,
  type Dataset,
  encodeDataset,
  isPrepared,
  MAX_SOURCES,
  TOKENIZER_FILE,
} from './dataset.ts'
import { type PreparedSource, prepareSource } from './prepare-source.ts'
import type { ShardFormat } from './shard-writer.ts'
import { findSource } from './sources.ts'
import { digestOf, loadTokenizer, type Tokenizer } from './tokenizer.ts'

/** Tokens of a shard, 8 or 16 MiB. A shard is fetched in seconds, and a thousand shards are a few billion tokens. */
const SHARD_TOKENS = 1 << 22

/** Options of `gensyn-node prepare`. */
export interface PrepareOptions {
  /** Files, folders or patterns. */
  readonly sources: readonly string[]
  /** Shares of the sources in the training, in their order; undefined for shares by their tokens. */
  readonly weights?: readonly number[] | undefined
  /** `bytes`, or the path of a tokenizer.json. */
  readonly tokenizer: string
  /** Token that ends a document; undefined for the token in the tokenizer's configuration. */
  readonly endOfText?: string | undefined
  /** Field of JSON Lines, or column of Parquet, with the text. */
  readonly field: string
  /** Share of documents that is held out. */
  readonly heldOut: number
  /** Folder of the new dataset. */
  readonly out: string
  /** True to replace an existing dataset. */
  readonly force: boolean
  /** Tokens of a shard, for tests. */
  readonly shardTokens?: number
  /** Called with each file after it was read. */
  readonly onFile?: (file: { readonly path: string; readonly bytes: number }) => void
}

/** A dataset in a temporary folder. */
export interface Prepared {
  readonly dataset: Dataset
  /** Digest of dataset.json. */
  readonly sha256: string
  /** Renames the folder to its final name. @throws InputError if this name is taken */
  keep(): void
  /** Removes the temporary folder. */
  discard(): void
}

/**
 * Prepares a dataset in a temporary folder.
 * @throws InputError for unusable sources, an unusable tokenizer or folder; then no file is left behind
 */
export async function prepare(options: PrepareOptions): Promise<Prepared> {
  const { out, force, field, heldOut, onFile } = options
  checkOptions(options)
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
    const prepared: PreparedSource[] = []
    for (const [index, source] of sources.entries()) {
      const prefix = `s${index}`
      prepared.push(
        await prepareSource(source, { tokenizer, format, prefix, field, heldOut, onFile }),
      )
    }
    const dataset = datasetOf(prepared, tokenizer, format, options)
    if (tokenizer.json !== null) writeFileSync(join(folder, TOKENIZER_FILE), tokenizer.json)
    const encoded = encodeDataset(dataset)
    writeFileSync(join(folder, DATASET_FILE), encoded)
    const keep = () => {
      checkPlace(out, force)
      // For a moment neither dataset has the name. A dataset that has the name is always whole.
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

function checkOptions({ out, force, weights, sources }: PrepareOptions): void {
  checkPlace(out, force)
  if (weights !== undefined && weights.length !== sources.length) {
    throw new InputError(
      `--weights has ${weights.length} numbers for ${sources.length} sources: give one for each.`,
    )
  }
  if (sources.length > MAX_SOURCES) {
    throw new InputError(
      `${sources.length} sources are more than ${MAX_SOURCES}: name folders or patterns instead of files.`,
    )
  }
}

/** Content of dataset.json. @throws InputError for a source without training tokens */
function datasetOf(
  sources: readonly PreparedSource[],
  { json, vocabSize, endOfText }: Tokenizer,
  { bytesPerToken, shardTokens }: ShardFormat,
  { weights, heldOut }: PrepareOptions,
): Dataset {
  const shares = sharesOf(sources, weights)
  return {
    format: 'gensyn-dataset',
    version: 1,
    tokenizer: {
      kind: json === null ? 'bytes' : 'json',
      sha256: json === null ? null : digestOf(json),
      vocabSize,
      endOfText,
    },
    bytesPerToken,
    shardTokens,
    heldOut,
    sources: sources.map((source, index) => ({ ...source, weight: shares[index]! })),
  }
}

/** Share of the training for each source; all shares add up to 1. @throws InputError for a source without training tokens */
function sharesOf(
  sources: readonly PreparedSource[],
  weights: readonly number[] | undefined,
): number[] {
  for (const { name, train } of sources) {
    if (train.tokens > 0) continue
    throw new InputError(
      `${name}: the whole source is held out. Lower --held-out, or use more text.`,
    )
  }
  const parts = weights ?? sources.map(({ train }) => train.tokens)
  const sum = parts.reduce((total, part) => total + part, 0)
  return parts.map((part) => part / sum)
}

function checkPlace(out: string, force: boolean): void {
  if (!existsSync(out)) return
  if (!isPrepared(out))
    throw new InputError(`${out} exists, and is not a dataset. Choose another --out.`)
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

/** Removes the temporary folders of this dataset that killed processes left behind, and those of this process. */
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
