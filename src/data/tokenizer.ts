/** What turns text into tokens: bytes, or a Hugging Face tokenizer.json. One row a kind. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { END_OF_TEXT } from '../../stages/formats/byte-tokenizer.ts'
import { InputError, systemCode } from '../base/errors.ts'
import { openTokenizerJson } from './tokenizer-json.ts'

export interface Tokenizer {
  /** Tokens are 0 .. vocabSize - 1. */
  readonly vocabSize: number
  /** Ends every document. */
  readonly endOfText: number
  /** The file it was read from, for whoever needs it beside the tokens; null for bytes. */
  readonly json: Uint8Array | null
  /** The tokens of a document, or of a part of one that `cut.ts` made. Byte tokenizers take bytes too, of any encoding. */
  encode(part: string | Uint8Array, continues?: boolean): ArrayLike<number>
}

/** UTF-8 as it is. */
export const BYTES: Tokenizer = {
  vocabSize: 256,
  endOfText: END_OF_TEXT,
  json: null,
  encode: (part) => (typeof part === 'string' ? Buffer.from(part) : part),
}

/** What a tokenizer_config.json beside it would say, for a tokenizer.json that stands alone. */
const KNOWN_ENDS = ['<|endoftext|>', '</s>', '<|end_of_text|>', '<eos>', '[EOS]', '<|im_end|>']

/** Longer files are no tokenizers: the largest in use have about 40 MB. */
export const MAX_TOKENIZER_BYTES = 256 << 20

/**
 * @param name `bytes`, or the path of a tokenizer.json
 * @param endOfText the token that ends a document; undefined takes the one that its configuration names
 * @throws InputError if there is no such file, or it is of a kind whose tokens would not be the reference's
 */
export function loadTokenizer(name: string, endOfText?: string): Tokenizer {
  if (name === 'bytes') {
    if (endOfText === undefined) return BYTES
    throw new InputError('--end-of-text names a token of a tokenizer.json; bytes end with byte 0.')
  }
  const json = readSmall(name)
  const { encode, vocabSize, idOf } = openTokenizerJson(json, name)
  const end =
    endOfText ?? configuredEnd(name) ?? KNOWN_ENDS.find((token) => idOf(token) !== undefined)
  const id = end === undefined ? undefined : idOf(end)
  if (id === undefined) {
    throw new InputError(
      end === undefined
        ? `${name} does not say which token ends a text: name it by --end-of-text.`
        : `${name} has no token ${end} to end a text with: name another by --end-of-text.`,
    )
  }
  return { vocabSize, endOfText: id, json, encode }
}

/** As a dataset names its tokenizer: null for bytes. @throws InputError if there is no such file */
export function digestOfTokenizer(name: string): string | null {
  return name === 'bytes' ? null : digestOf(readSmall(name))
}

export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

function configuredEnd(path: string): string | undefined {
  try {
    const config = JSON.parse(readFileSync(join(dirname(path), 'tokenizer_config.json'), 'utf8'))
    const token = config?.eos_token
    return typeof token === 'string' ? token : token?.content
  } catch {
    // Optional, and often not there.
    return undefined
  }
}

function readSmall(path: string): Uint8Array {
  const remedy = 'Name a tokenizer.json, or `bytes`, by --tokenizer.'
  try {
    const bytes = readFileSync(path)
    if (bytes.length <= MAX_TOKENIZER_BYTES) return bytes
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined) throw error
    const what = code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`
    throw new InputError(`The tokenizer ${path} ${what}. ${remedy}`)
  }
  throw new InputError(
    `${path} is longer than ${MAX_TOKENIZER_BYTES} bytes: no tokenizer. ${remedy}`,
  )
}
