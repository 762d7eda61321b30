/** The tokenizer of a model: bytes, or Hugging Face's files beside the weights. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  BYTES,
  byteTokenizer,
  END_OF_TEXT,
  tokenizerConfig,
} from '../../stages/formats/byte-tokenizer.ts'
import type { TokenizerJson } from '../../stages/formats/tokenizer-json.ts'
import { InputError, systemCode } from '../base/errors.ts'
import { BYTES as BYTE_TOKENS } from '../data/tokenizer.ts'
import { openTokenizerJson } from '../data/tokenizer-json.ts'

const TOKENIZER = 'tokenizer.json'
const CONFIG = 'tokenizer_config.json'
/** Optional files beside a tokenizer. */
const COMPANIONS = [CONFIG, 'special_tokens_map.json', 'chat_template.jinja']

/** Turns texts into the token ids of a model, and back. */
export interface ModelTokenizer {
  readonly isBytes: boolean
  readonly json: TokenizerJson
  /** Files that are written beside the weights, by name. */
  readonly files: ReadonlyMap<string, Uint8Array>
  /** Token ids that the model expects at the beginning of a text. */
  readonly beginning: readonly number[]
  /** Id of the token that ends a text; null if there is none. */
  readonly endOfText: number | null
  /** @param continues true if `part` follows a cut in its text */
  encode(part: string | Uint8Array, continues?: boolean): ArrayLike<number>
  decode(tokens: readonly number[]): Uint8Array
}

/**
 * The tokenizer of a model of bytes.
 * @param context number of tokens in the training context
 */
export function bytesAsTokens(context: number): ModelTokenizer {
  return {
    isBytes: true,
    json: byteTokenizer() as TokenizerJson,
    files: new Map([
      [TOKENIZER, encoded(byteTokenizer())],
      [CONFIG, encoded(tokenizerConfig({ model_max_length: context }))],
    ]),
    beginning: [],
    endOfText: END_OF_TEXT,
    encode: BYTE_TOKENS.encode,
    // A model may have more rows than bytes. An id above the bytes stands for no text.
    decode: (tokens) => Uint8Array.from(tokens.filter((token) => token < BYTES)),
  }
}

/**
 * Reads the tokenizer of a model's folder.
 * @param vocabSize size of the model's vocabulary
 * @param endOfText id of the token that ends a text, if the folder has no tokenizer_config.json
 * @throws InputError if the tokenizer is missing or damaged, or has more tokens than the model
 */
export function readTokenizer(
  folder: string,
  vocabSize: number,
  endOfText: number | null = null,
): ModelTokenizer {
  const path = join(folder, TOKENIZER)
  const files = new Map([[TOKENIZER, readNeeded(path)]])
  for (const name of COMPANIONS) {
    const content = readIfThere(join(folder, name))
    if (content !== null) files.set(name, content)
  }
  const config = files.get(CONFIG)
  const settings: Settings = config === undefined ? {} : parse(join(folder, CONFIG), config)
  const tokenizer = openTokenizerJson(files.get(TOKENIZER)!, path, settings)
  if (tokenizer.vocabSize === 0) {
    throw new InputError(`${path} is not a tokenizer: it has no tokens.`)
  }
  if (tokenizer.vocabSize > vocabSize) {
    throw new InputError(
      `${path} does not fit the model: its largest token id is ${tokenizer.vocabSize - 1}, the model's vocabulary ` +
        `ends at ${vocabSize - 1}. Use the tokenizer that belongs to these weights.`,
    )
  }
  const json = tokenizer.config as TokenizerJson
  const named = json.added_tokens?.find(({ id }) => id === endOfText)?.content
  if (config === undefined && named !== undefined) {
    files.set(CONFIG, encoded(tokenizerConfig({ eos_token: named })))
  }
  if (isByteVocabulary(json)) return { ...bytesAsTokens(0), json, files }
  const { eos_token: ends } = settings
  const name = typeof ends === 'object' ? ends?.content : ends
  const end = (name === undefined ? undefined : tokenizer.idOf(name)) ?? endOfText
  return {
    isBytes: false,
    json,
    files,
    beginning: tokenizer.around.filter((token) => token !== end),
    endOfText: end,
    encode: tokenizer.encode,
    decode: (tokens) => Buffer.from(tokenizer.decode(tokens)),
  }
}

/** The used part of tokenizer_config.json. */
interface Settings {
  readonly eos_token?: string | { readonly content: string } | null
}

function isByteVocabulary({ model, added_tokens: added = [] }: TokenizerJson): boolean {
  const ours = (byteTokenizer() as TokenizerJson).model
  return (
    model.type === ours.type &&
    model.merges?.length === 0 &&
    added.length === 0 &&
    JSON.stringify(model.vocab) === JSON.stringify(ours.vocab)
  )
}

function encoded(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`)
}

function parse(path: string, content: Uint8Array): object {
  try {
    const value: unknown = JSON.parse(Buffer.from(content).toString())
    if (typeof value === 'object' && value !== null) return value
  } catch {}
  throw new InputError(`${path} is not JSON, or only the beginning of it. Copy it again.`)
}

function readNeeded(path: string): Buffer {
  const content = readIfThere(path)
  if (content === null) {
    throw new InputError(`${path} does not exist: put the model's tokenizer beside its weights.`)
  }
  return content
}

function readIfThere(path: string): Buffer | null {
  try {
    return readFileSync(path)
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT') return null
    throw new InputError(`${path} cannot be read (${code}).`)
  }
}
