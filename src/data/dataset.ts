/**
 * A prepared dataset: a folder with tokens in shards of equal size, and dataset.json with the digest of each shard. The
 * manifest of a run contains the digest of dataset.json, which fixes the whole content.
 */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { count } from '../../protocols/schemas.ts'
import { InputError, systemCode } from '../base/errors.ts'
import { digestOf } from './tokenizer.ts'

export const DATASET_FILE = 'dataset.json'
export const TOKENIZER_FILE = 'tokenizer.json'

const VERSION = 1

/** Largest size of dataset.json. A dataset with a hundred thousand files has about 15 MB. */
export const MAX_DATASET_BYTES = 64 << 20

/** Largest number of sources. A source can have any number of files. */
export const MAX_SOURCES = 256

const digest = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 has 64 digits 0-9a-f')
/** A file name without a path, so that no file outside the folder can be named. */
const fileName = z.string().regex(/^[\w-]+(\.[\w-]+)*$/, 'a plain file name')

const shardSchema = z.strictObject({ file: fileName, sha256: digest, tokens: count.min(1) })

const streamSchema = z.strictObject({
  tokens: count,
  /**
   * Number of documents. An end-of-text token follows each document, and each part whose next part went to the other
   * stream.
   */
  documents: count,
  /** All shards but the last have `shardTokens` tokens. */
  shards: z.array(shardSchema),
})

const datasetSchema = z.strictObject({
  format: z.literal('gensyn-dataset'),
  version: z.literal(VERSION),
  tokenizer: z.strictObject({
    kind: z.enum(['bytes', 'json']),
    /** Digest of tokenizer.json in the dataset's folder; null for bytes. */
    sha256: digest.nullable(),
    vocabSize: count.min(1),
    endOfText: count,
  }),
  /** Size of a token, an unsigned little-endian integer. */
  bytesPerToken: z.union([z.literal(2), z.literal(4)]),
  shardTokens: count.min(1),
  /** Share of documents in the held-out streams. A document's digest decides. */
  heldOut: z.number().min(0).lt(1),
  sources: z
    .array(
      z.strictObject({
        name: z.string(),
        /** Share of the training sequences. The shares of all sources add up to 1. */
        weight: z.number().positive().max(1),
        bytes: count,
        files: z.array(z.strictObject({ name: z.string(), sha256: digest, bytes: count })).min(1),
        train: streamSchema,
        heldOut: streamSchema,
      }),
    )
    .min(1)
    .max(MAX_SOURCES),
})

/** Content of dataset.json. */
export type Dataset = z.output<typeof datasetSchema>
/** Training tokens, or held-out tokens, of one source. */
export type Stream = z.output<typeof streamSchema>
/** One file of tokens. */
export type Shard = z.output<typeof shardSchema>

/** A dataset.json that was read. */
export interface ReadDataset {
  readonly dataset: Dataset
  /** Digest of the file, as a run's manifest contains it. */
  readonly sha256: string
  /** Content of the file. */
  readonly json: Uint8Array
}

/** Tells whether the folder contains a dataset. */
export function isPrepared(folder: string): boolean {
  return statSync(join(folder, DATASET_FILE), { throwIfNoEntry: false })?.isFile() === true
}

/** Reads dataset.json of a folder. @throws InputError if it is missing or damaged */
export function readDataset(folder: string): ReadDataset {
  const path = join(folder, DATASET_FILE)
  try {
    const { size } = statSync(path)
    if (size > MAX_DATASET_BYTES)
      throw new InputError(`${path} has ${size} bytes: it is not a dataset.json.`)
    const json = readFileSync(path)
    return { dataset: parseDataset(json, path), sha256: digestOf(json), json }
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    const what = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`
    throw new InputError(`${path} ${what}. Make it with \`gensyn-node prepare\`.`)
  }
}

/** Parses dataset.json. @throws InputError if it is malformed */
export function parseDataset(json: Uint8Array, name: string): Dataset {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder().decode(json))
  } catch (error) {
    throw new InputError(`${name} is damaged (${(error as Error).message}): prepare it again.`)
  }
  const result = datasetSchema.safeParse(value)
  if (result.success) return result.data
  const { path, message } = result.error.issues[0]!
  throw new InputError(
    `${name} is not a dataset of this version: ${path.join('.')}: ${message}. Prepare it again.`,
  )
}

/** Content of dataset.json as bytes. */
export function encodeDataset(dataset: Dataset): Uint8Array {
  return Buffer.from(`${JSON.stringify(datasetSchema.parse(dataset), null, 1)}\n`)
}

/** Size of the text from which the tokens were made, in bytes. */
export function textBytes({ sources }: Dataset): number {
  return sources.reduce((sum, { bytes }) => sum + bytes, 0)
}

/** All files of the folder beside dataset.json. */
export function filesOf({ tokenizer, sources }: Dataset): { file: string; sha256: string }[] {
  const streams = sources.flatMap(({ train, heldOut }) => [train, heldOut])
  const { sha256 } = tokenizer
  return [
    ...(sha256 === null ? [] : [{ file: TOKENIZER_FILE, sha256 }]),
    ...streams.flatMap(({ shards }) => shards.map(({ file, sha256 }) => ({ file, sha256 }))),
  ]
}
