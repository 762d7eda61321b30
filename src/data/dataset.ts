/**
 * A prepared dataset: a folder with tokens in shards of one size, and dataset.json, which names each by its digest. The
 * digest of dataset.json fixes them all, so that a run's manifest needs no other.
 */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { InputError, systemCode } from '../base/errors.ts'
import { digestOf } from './tokenizer.ts'

export const DATASET_FILE = 'dataset.json'
export const TOKENIZER_FILE = 'tokenizer.json'

const VERSION = 1

/** Of dataset.json; a folder with a hundred thousand files has some 15 MB. */
export const MAX_DATASET_BYTES = 64 << 20

/** Each with a share of its own; a source may have any number of files. */
export const MAX_SOURCES = 256

const count = z.int().nonnegative()
const digest = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 has 64 digits 0-9a-f')
/** No path: nothing outside the folder can be named. */
const fileName = z.string().regex(/^[\w-]+(\.[\w-]+)*$/, 'a plain file name')

const shardSchema = z.strictObject({ file: fileName, sha256: digest, tokens: count.min(1) })

const streamSchema = z.strictObject({
  tokens: count,
  /** Each ends with the tokenizer's token for that; so does what stands before a part that went to the other stream. */
  documents: count,
  /** All but the last have `shardTokens` tokens. */
  shards: z.array(shardSchema),
})

const datasetSchema = z.strictObject({
  format: z.literal('gensyn-dataset'),
  version: z.literal(VERSION),
  tokenizer: z.strictObject({
    kind: z.enum(['bytes', 'json']),
    /** Of tokenizer.json, which lies in the folder too; null for bytes. */
    sha256: digest.nullable(),
    vocabSize: count.min(1),
    endOfText: count,
  }),
  /** Of a token, unsigned, little-endian. */
  bytesPerToken: z.union([z.literal(2), z.literal(4)]),
  shardTokens: count.min(1),
  /** The share of documents whose digest puts them into the held-out streams. */
  heldOut: z.number().min(0).lt(1),
  sources: z
    .array(
      z.strictObject({
        name: z.string(),
        /** Share of the sequences that are trained on. All shares add up to 1. */
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

export type Dataset = z.output<typeof datasetSchema>
export type Stream = z.output<typeof streamSchema>
export type Shard = z.output<typeof shardSchema>

/** What dataset.json says, and the digest that a run's manifest knows it by. */
export interface ReadDataset {
  readonly dataset: Dataset
  readonly sha256: string
  /** As it was read. */
  readonly json: Uint8Array
}

export function isPrepared(folder: string): boolean {
  return statSync(join(folder, DATASET_FILE), { throwIfNoEntry: false })?.isFile() === true
}

/** @throws InputError if the folder has no dataset, or a damaged one */
export function readDataset(folder: string): ReadDataset {
  const path = join(folder, DATASET_FILE)
  try {
    const { size } = statSync(path)
    if (size > MAX_DATASET_BYTES)
      throw new InputError(`${path} has ${size} bytes: no dataset.json.`)
    const json = readFileSync(path)
    return { dataset: parseDataset(json, path), sha256: digestOf(json), json }
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    const what = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`
    throw new InputError(`${path} ${what}. Make it with \`gensyn-node prepare\`.`)
  }
}

/** @throws InputError if this is no dataset.json */
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
    `${name} is no dataset of this version: ${path.join('.')}: ${message}. Prepare it again.`,
  )
}

export function encodeDataset(dataset: Dataset): Uint8Array {
  return Buffer.from(`${JSON.stringify(datasetSchema.parse(dataset), null, 1)}\n`)
}

/** Bytes of the text that the tokens were made of. */
export function textBytes({ sources }: Dataset): number {
  return sources.reduce((sum, { bytes }) => sum + bytes, 0)
}

/** All that lies in the folder beside dataset.json. */
export function filesOf({ tokenizer, sources }: Dataset): { file: string; sha256: string }[] {
  const streams = sources.flatMap(({ train, heldOut }) => [train, heldOut])
  const { sha256 } = tokenizer
  return [
    ...(sha256 === null ? [] : [{ file: TOKENIZER_FILE, sha256 }]),
    ...streams.flatMap(({ shards }) => shards.map(({ file, sha256 }) => ({ file, sha256 }))),
  ]
}
