/**
 * Tokenizes with a Hugging Face tokenizer.json, fast enough for a corpus. The library's `encode` takes seconds a megabyte.
 * Here its normalizer, pre-tokenizer and model run once for each different piece of text, and a cache keeps the tokens.
 * Known differences between the library and the reference, Hugging Face's Rust library, are corrected or refused.
 */
import { InputError } from '../base/errors.ts'
import { addedTokens, split } from './added-tokens.ts'
import { PieceCache } from './piece-cache.ts'
import {
  checkKind,
  type PreTokenizerConfig,
  parseTokenizerJson,
  type TokenizerConfig,
} from './tokenizer-kinds.ts'
import {
  ByteLevelPreTokenizer,
  type LibraryTokenizer,
  SequencePreTokenizer,
  Tokenizer,
} from './tokenizers-library.ts'

/** A tokenizer of Hugging Face's format. */
export interface JsonTokenizer {
  readonly config: TokenizerConfig
  /** Largest token id plus one. */
  readonly vocabSize: number
  /** Tokens that the tokenizer adds before or after a text. */
  readonly around: readonly number[]
  /** Id of a token; undefined if the vocabulary does not have it. */
  idOf(token: string): number | undefined
  /** @param continues true if `text` is a part of a document that was cut before a space */
  encode(text: string | Uint8Array, continues?: boolean): number[]
  /** Text of the tokens. Special tokens are left out. */
  decode(tokens: readonly number[]): string
}

/** The pattern of GPT-2, by which ByteLevel splits a text. */
export const GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

/**
 * Opens a tokenizer.json.
 * @param name name of the file, for messages
 * @param settings content of tokenizer_config.json, which decides how spaces are decoded
 * @throws InputError if the file is malformed, or of a kind that is not supported
 */
export function openTokenizerJson(
  bytes: Uint8Array,
  name: string,
  settings: object = {},
): JsonTokenizer {
  const config = parseTokenizerJson(bytes, name)
  checkKind(config, name)
  let library: LibraryTokenizer
  try {
    library = new Tokenizer(config, settings)
  } catch (error) {
    throw new InputError(`${name}: ${(error as Error).message}`, { cause: error })
  }
  const added = addedTokens(config.added_tokens, library.normalizer)
  const piecesOf = splitter(config, library)
  const idsOf = pieceEncoder(config, library)
  const cache = new PieceCache()

  const plain = (text: string, first: boolean, into: number[]) => {
    for (const piece of piecesOf(text, first)) {
      let ids = cache.get(piece)
      if (ids === undefined) {
        ids = idsOf(piece)
        cache.set(piece, ids)
      }
      for (let i = 0; i < ids.length; i++) into.push(ids[i]!)
    }
  }
  const encodeText = (text: string): number[] => {
    const ids: number[] = []
    for (const section of split(text, added.raw)) {
      if (section.token !== null) {
        ids.push(section.token.id)
        continue
      }
      const normalized =
        library.normalizer === null ? section.text : library.normalizer(section.text)
      for (const inner of split(normalized, added.normalized)) {
        if (inner.token !== null) ids.push(inner.token.id)
        else plain(inner.text, section.start + inner.start === 0, ids)
      }
    }
    return ids
  }
  const continued = howToContinue(encodeText)
  return {
    config,
    vocabSize: library.model.vocab.length,
    around: library.encode('', { add_special_tokens: true }).ids,
    idOf: (token) => library.model.tokens_to_ids.get(token),
    encode: (text, continues = false) => {
      if (typeof text !== 'string') throw new Error('a tokenizer.json encodes text, not bytes')
      return encodeText(continues ? continued(text) : text)
    },
    // The library throws on an empty list.
    decode: (tokens) =>
      tokens.length === 0 ? '' : library.decode(tokens, { skip_special_tokens: true }),
  }
}

/**
 * Gives the function that adjusts a part after a cut, which begins with a space. Some tokenizers put a space before every
 * text, so that the part's own space has to be removed for them. A trial finds out which kind this tokenizer is.
 */
function howToContinue(encode: (text: string) => number[]): (text: string) => string {
  const isContinuedBy = (rest: string) =>
    encode('one two').join() === [...encode('one'), ...encode(rest)].join()
  const keepsSpace = isContinuedBy(' two') || !isContinuedBy('two')
  return keepsSpace ? (text) => text : (text) => text.slice(1)
}

/** Makes a function that splits a text into pieces, each of which is encoded alone. Bytes are not mapped to letters yet. */
function splitter(
  config: TokenizerConfig,
  library: LibraryTokenizer,
): (text: string, first: boolean) => string[] {
  const rows = flat(config.pre_tokenizer)
  const last = rows.at(-1)
  if (last?.type === 'ByteLevel') {
    const before: object[] = rows.slice(0, -1)
    if (last.use_regex ?? true) {
      before.push({ type: 'Split', pattern: { Regex: GPT2 }, behavior: 'Removed', invert: true })
    }
    if (last.add_prefix_space) {
      const prefixed = (text: string) => (text.startsWith(' ') ? text : ` ${text}`)
      const split = preTokenizer(rows.slice(0, -1))
      const inner = preTokenizer(before.slice(rows.length - 1))
      return (text) => split(text).flatMap((piece) => inner(prefixed(piece)))
    }
    return preTokenizer(before)
  }
  const pieces = (text: string, first: boolean): string[] =>
    library.pre_tokenizer === null
      ? [text]
      : library.pre_tokenizer(text, { section_index: first ? 0 : 1 })
  const apart =
    last?.type === 'Metaspace' && (last.split ?? true)
      ? /(?=▁)/
      : // If no token crosses from a letter into the space after it, then no merge does.
        !library.model.vocab.some((token) => /[^▁]▁/.test(token ?? ''))
        ? /(?<=[^▁])(?=▁)/
        : null
  return apart === null
    ? pieces
    : (text, first) => pieces(text, first).flatMap((p) => p.split(apart))
}

function flat(config: PreTokenizerConfig | null): PreTokenizerConfig[] {
  if (config === null) return []
  return config.type === 'Sequence' ? (config.pretokenizers ?? []).flatMap(flat) : [config]
}

function preTokenizer(rows: object[]): (text: string) => string[] {
  if (rows.length === 0) return (text) => [text]
  const sequence = new SequencePreTokenizer({ type: 'Sequence', pretokenizers: rows })
  return (text) => sequence(text)
}

/** Makes a function that gives the tokens of one piece, by the library's model. */
function pieceEncoder(
  config: TokenizerConfig,
  library: LibraryTokenizer,
): (piece: string) => number[] {
  const model = library.model
  const isByteLevel = flat(config.pre_tokenizer).at(-1)?.type === 'ByteLevel'
  const toLetters = new ByteLevelPreTokenizer({ use_regex: false })
  const utf8 = new TextEncoder()
  const byteFallback = config.model.byte_fallback === true
  const idOf = (token: string): number[] => {
    const id = model.tokens_to_ids.get(token)
    if (id !== undefined) return [id]
    if (byteFallback) {
      const bytes = Array.from(utf8.encode(token), (byte) =>
        model.tokens_to_ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
      )
      if (bytes.every((byte) => byte !== undefined)) return bytes
    }
    return model.unk_token_id === undefined ? [] : [model.unk_token_id]
  }
  return (piece) => {
    const word = isByteLevel ? toLetters(piece) : [piece]
    return model(word).flatMap(idOf)
  }
}
