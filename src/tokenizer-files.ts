/** The tokenizer of a model: bytes, or the files of Hugging Face that lie beside the weights. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import {
  BYTES,
  byteTokenizer,
  byteTokenizerConfig,
  END_OF_TEXT,
} from '../stages/formats/byte-tokenizer.ts'
import type { TokenizerJson } from '../stages/formats/tokenizer-json.ts'
import { InputError, systemCode } from './errors.ts'

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
  encode(text: Uint8Array): Int32Array
  decode(tokens: readonly number[]): Uint8Array
}

/** @param context tokens that the model was trained on at a time */
export function bytesAsTokens(context: number): ModelTokenizer {
  const encoded = (value: object) => Buffer.from(`${JSON.stringify(value, null, 2)}\n`)
  return {
    isBytes: true,
    json: byteTokenizer() as TokenizerJson,
    files: new Map([
      [TOKENIZER, encoded(byteTokenizer())],
      [CONFIG, encoded(byteTokenizerConfig(context))],
    ]),
    beginning: [],
    endOfText: END_OF_TEXT,
    encode: (text) => Int32Array.from(text),
    // Rows beyond the bytes are never trained on; a model that names one all the same has no byte for it.
    decode: (tokens) => Uint8Array.from(tokens.filter((token) => token < BYTES)),
  }
}

/** @throws InputError if there is none, if it is damaged, or if it names tokens that the model has no row for */
export function readTokenizer(folder: string, vocabSize: number): ModelTokenizer {
  const path = join(folder, TOKENIZER)
  const files = new Map([[TOKENIZER, readNeeded(path)]])
  for (const name of COMPANIONS) {
    const content = readIfThere(join(folder, name))
    if (content !== null) files.set(name, content)
  }
  const json = parse(path, files.get(TOKENIZER)!) as unknown as TokenizerJson
  const largest = Math.max(...idsOf(path, json))
  if (largest >= vocabSize) {
    throw new InputError(
      `${path} does not fit the model: it has a token of number ${largest}, the model's vocabulary ends at ` +
        `${vocabSize - 1}. Bring the tokenizer that belongs to these weights.`,
    )
  }
  const config = files.get(CONFIG)
  const settings = config === undefined ? {} : parse(join(folder, CONFIG), config)
  if (isByteVocabulary(json)) return { ...bytesAsTokens(0), json, files }
  return { isBytes: false, json, files, ...viaHuggingFace(path, json, settings) }
}

/** The package's own types name their files without an extension, which TypeScript does not follow. */
interface Library {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] }
  decode(tokens: readonly number[], options: { skip_special_tokens: boolean }): string
}

function viaHuggingFace(path: string, json: TokenizerJson, settings: object) {
  let tokenizer: Library
  try {
    tokenizer = new HuggingFaceTokenizer(json, settings) as Library
  } catch (error) {
    throw new InputError(`${path}: this tokenizer cannot be used (${(error as Error).message}).`)
  }
  const { eos_token: ends } = settings as { eos_token?: string | { content: string } | null }
  const name = typeof ends === 'object' ? ends?.content : ends
  const endOfText = json.added_tokens?.find(({ content }) => content === name)?.id ?? null
  const around = tokenizer.encode('', { add_special_tokens: true }).ids
  return {
    beginning: around.filter((token) => token !== endOfText),
    endOfText,
    encode: (text: Uint8Array) =>
      Int32Array.from(
        tokenizer.encode(Buffer.from(text).toString(), { add_special_tokens: false }).ids,
      ),
    decode: (tokens: readonly number[]) =>
      // The library refuses to make nothing of nothing.
      tokens.length === 0
        ? new Uint8Array()
        : Buffer.from(tokenizer.decode(tokens, { skip_special_tokens: true })),
  }
}

/** All numbers that the tokenizer may give out. */
function idsOf(path: string, { model, added_tokens: added = [] }: TokenizerJson): number[] {
  const vocab: unknown = model?.vocab
  const ids = Array.isArray(vocab)
    ? [...vocab.keys()]
    : typeof vocab === 'object' && vocab !== null
      ? Object.values(vocab)
      : []
  if (ids.length === 0 || !Array.isArray(added)) {
    throw new InputError(`${path} is no tokenizer: it has no vocabulary.`)
  }
  return [...(ids as number[]), ...added.map(({ id }) => id)]
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
