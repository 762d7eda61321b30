/** Tokenizers: bytes, or a tokenizer.json of Hugging Face. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { sha256 } from '../../protocols/weights.ts'
import { END_OF_TEXT } from '../../stages/formats/byte-tokenizer.ts'
import { InputError, systemCode } from '../base/errors.ts'
import { openTokenizerJson } from './tokenizer-json.ts'

/** Turns text into token ids. */
export interface Tokenizer {
  /** Token ids are 0 .. vocabSize - 1. */
  readonly vocabSize: number
  /** Id of the token that ends every document. */
  readonly endOfText: number
  /** Content of the tokenizer.json; null for bytes. */
  readonly json: Uint8Array | null
  /** Token ids of a document or of a part of it. The byte tokenizer also accepts bytes in any encoding. */
  encode(part: string | Uint8Array, continues?: boolean): ArrayLike<number>
}

/** The byte tokenizer: each byte of UTF-8 is a token. */
export const BYTES: Tokenizer = {
  vocabSize: 256,
  endOfText: END_OF_TEXT,
  json: null,
  encode: (part) => (typeof part === 'string' ? Buffer.from(part) : part),
}

/** Common end-of-text tokens, for a tokenizer.json without a tokenizer_config.json. */
const KNOWN_ENDS = ['<|endoftext|>', '</s>', '<|end_of_text|>', '<eos>', '[EOS]', '<|im_end|>']

/** Largest size of a tokenizer. The largest tokenizers in use have about 40 MB. */
export const MAX_TOKENIZER_BYTES = 256 << 20

/**
 * Loads a tokenizer.
 * @param name `bytes`, or the path of a tokenizer.json
 * @param endOfText token that ends a document; undefined for the token in the tokenizer's configuration
 * @throws InputError if the file does not exist or is not supported, or the end-of-text token is unknown
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

/** Digest of a tokenizer.json; null for `bytes`. @throws InputError if the file does not exist */
export function digestOfTokenizer(name: string): string | null {
  return name === 'bytes' ? null : digestOf(readSmall(name))
}

/** SHA-256 of some bytes, in hex. */
export function digestOf(bytes: Uint8Array): string {
  return sha256(bytes)
}

function configuredEnd(path: string): string | undefined {
  try {
    const config = JSON.parse(readFileSync(join(dirname(path), 'tokenizer_config.json'), 'utf8'))
    const token = config?.eos_token
    return typeof token === 'string' ? token : token?.content
  } catch {
    // The file is optional.
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
    `${path} is longer than ${MAX_TOKENIZER_BYTES} bytes: it is not a tokenizer. ${remedy}`,
  )
}
