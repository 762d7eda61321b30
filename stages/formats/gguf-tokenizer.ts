/** Tokenizers as llama.cpp reads them from GGUF: byte-level BPE, and bytes as a BPE without merges. */
import { BYTE_CHARACTERS, END_OF_TEXT } from './byte-tokenizer.ts'
import type { GgufMetadata } from './gguf.ts'
import type { PreTokenizerJson, TokenizerJson } from './tokenizer-json.ts'

/** llama_token_type */
const TYPE = { normal: 1, control: 3, userDefined: 4, unused: 5 }

/** Error for a tokenizer that GGUF cannot describe. */
export class GgufTokenizerError extends Error {
  override readonly name = 'GgufTokenizerError'
}

/**
 * Metadata of bytes as tokens: GPT-2's byte-level BPE without merges. Without a token for the end of a text llama.cpp would
 * take number 11.
 * @param vocabSize rows of the embedding. Tokens beyond the bytes have names and never result from a text
 */
export function ggufByteTokenizer(vocabSize: number): GgufMetadata {
  const tokens = new Map(BYTE_CHARACTERS.map((text, id) => [id, { text, type: TYPE.normal }]))
  return described(tokens, vocabSize, [], 'gpt-2', {
    beginning: END_OF_TEXT,
    endOfText: END_OF_TEXT,
    addBeginning: false,
  })
}

export interface SpecialTokens {
  readonly beginning: number | null
  readonly endOfText: number | null
  /** True if a text begins with `beginning`. */
  readonly addBeginning: boolean
}

/** @throws GgufTokenizerError for another kind of tokenizer, or for a splitting of texts without a name in llama.cpp */
export function ggufBpeTokenizer(
  json: TokenizerJson,
  vocabSize: number,
  special: SpecialTokens,
): GgufMetadata {
  const { model, added_tokens: added = [], normalizer = null } = json
  if (model.type !== 'BPE' || Array.isArray(model.vocab)) {
    throw new GgufTokenizerError(`its model is ${model.type}, only byte-level BPE can be written`)
  }
  if (normalizer !== null) throw new GgufTokenizerError('it has a normalizer, which GGUF has not')
  const tokens = new Map(
    Object.entries(model.vocab).map(([text, id]) => [id as number, { text, type: TYPE.normal }]),
  )
  for (const { id, content: text, special: control } of added) {
    tokens.set(id, { text, type: control ? TYPE.control : TYPE.userDefined })
  }
  const merges = (model.merges ?? []).map((merge) =>
    typeof merge === 'string' ? merge : merge.join(' '),
  )
  return described(tokens, vocabSize, merges, splitterOf(json.pre_tokenizer ?? null), special)
}

/** Regular expressions by the names that llama.cpp has for splitting texts. */
const SPLITTERS: Readonly<Record<string, string>> = {
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+":
    'llama-bpe',
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+":
    'qwen2',
}

function splitterOf(splitter: PreTokenizerJson | null): string {
  const parts = splitter?.type === 'Sequence' ? (splitter.pretokenizers ?? []) : [splitter]
  const [first, last] = [parts[0], parts.at(-1)]
  if (last?.type === 'ByteLevel' && last.add_prefix_space !== true) {
    if (parts.length === 1 && last.use_regex !== false) return 'gpt-2'
    const name = SPLITTERS[first?.pattern?.Regex ?? '']
    if (parts.length === 2 && last.use_regex === false && name !== undefined) return name
  }
  throw new GgufTokenizerError(
    `llama.cpp has no name for how it splits text: ${JSON.stringify(splitter)}`,
  )
}

function described(
  tokens: ReadonlyMap<number, { readonly text: string; readonly type: number }>,
  vocabSize: number,
  merges: readonly string[],
  splitter: string,
  { beginning, endOfText, addBeginning }: SpecialTokens,
): GgufMetadata {
  const all = Array.from(
    { length: vocabSize },
    (_, id) => tokens.get(id) ?? { text: `[UNUSED${id}]`, type: TYPE.unused },
  )
  const numbered = (name: string, id: number | null): GgufMetadata =>
    id === null ? [] : [[`tokenizer.ggml.${name}_token_id`, { uint32: id }]]
  return [
    ['tokenizer.ggml.model', { string: 'gpt2' }],
    ['tokenizer.ggml.pre', { string: splitter }],
    ['tokenizer.ggml.tokens', { strings: all.map(({ text }) => text) }],
    ['tokenizer.ggml.token_type', { int32s: all.map(({ type }) => type) }],
    ['tokenizer.ggml.merges', { strings: merges }],
    ...numbered('bos', beginning ?? endOfText),
    ...numbered('eos', endOfText),
    ['tokenizer.ggml.add_bos_token', { bool: addBeginning }],
    ['tokenizer.ggml.add_eos_token', { bool: false }],
    ['tokenizer.ggml.add_space_prefix', { bool: false }],
  ]
}
