/**
 * A Hugging Face tokenizer.json, at the speed that a corpus needs. The library's own `encode` takes seconds a
 * megabyte; here its parts (normalizer, pre-tokenizer, model) are called for each *piece* of text that was not met
 * before, and what came of it is remembered. What the library is known to do in another way than the reference
 * (Hugging Face's Rust library) is mended here, or refused.
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

export interface JsonTokenizer {
  readonly config: TokenizerConfig
  /** Above the largest number of a token. */
  readonly vocabSize: number
  /** What is put around a text for a model that expects something there. */
  readonly around: readonly number[]
  idOf(token: string): number | undefined
  /** @param continues `text` goes on where another part of its document ended, which was cut before a space */
  encode(text: string | Uint8Array, continues?: boolean): number[]
  /** Without the tokens that stand for no text. */
  decode(tokens: readonly number[]): string
}

/** GPT-2's: what ByteLevel splits by when it is told to. */
export const GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

/**
 * @param name for messages
 * @param settings what tokenizer_config.json says, which decides on spaces in what is decoded
 * @throws InputError for a kind that is not supported
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
    // The library refuses to make nothing of nothing.
    decode: (tokens) =>
      tokens.length === 0 ? '' : library.decode(tokens, { skip_special_tokens: true }),
  }
}

/**
 * A part that goes on after a cut begins with a space. Tokenizers that put a space before every text must not see two:
 * which kind this one is, is tried out.
 */
function howToContinue(encode: (text: string) => number[]): (text: string) => string {
  const goesOn = (rest: string) =>
    encode('one two').join() === [...encode('one'), ...encode(rest)].join()
  return goesOn(' two') || !goesOn('two') ? (text) => text : (text) => text.slice(1)
}

/** Text into the pieces that are encoded each by itself, without the mapping of bytes to letters. */
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
      : // No token reaches from a letter into the space after it, so no merge crosses here either.
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

/** The tokens of one piece, by the library's model. */
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
