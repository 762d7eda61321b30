/** The tokenizer of a model: bytes, or the files of Hugging Face that lie beside the weights. */
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
/** What goes with a tokenizer where it is there. */
const COMPANIONS = [CONFIG, 'special_tokens_map.json', 'chat_template.jinja']

export interface ModelTokenizer {
  readonly isBytes: boolean
  readonly json: TokenizerJson
  /** To be written beside the weights, by name. */
  readonly files: ReadonlyMap<string, Uint8Array>
  /** What a text begins with, where the model expects something. */
  readonly beginning: readonly number[]
  /** The token that ends a text; null if there is none. */
  readonly endOfText: number | null
  /** @param continues `part` goes on where another part of its text was cut */
  encode(part: string | Uint8Array, continues?: boolean): ArrayLike<number>
  decode(tokens: readonly number[]): Uint8Array
}

/** @param context tokens that the model was trained on at a time */
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
    // Rows beyond the bytes are never trained on; a model that names one all the same has no byte for it.
    decode: (tokens) => Uint8Array.from(tokens.filter((token) => token < BYTES)),
  }
}

/**
 * @param endOfText the token that ends a text, where no configuration beside the tokenizer says so
 * @throws InputError if there is none, if it is damaged, or if it names tokens that the model has no row for
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
  if (tokenizer.vocabSize === 0) throw new InputError(`${path} is no tokenizer: it has no tokens.`)
  if (tokenizer.vocabSize > vocabSize) {
    throw new InputError(
      `${path} does not fit the model: it has a token of number ${tokenizer.vocabSize - 1}, the model's vocabulary ` +
        `ends at ${vocabSize - 1}. Bring the tokenizer that belongs to these weights.`,
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

/** Of tokenizer_config.json, what is looked into here. */
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
