/**
 * Tokenizer files of a model whose tokens are bytes: byte-level BPE without merges. GPT-2's alphabet has a printable character
 * for each byte. The number of a token is its byte.
 */

export const BYTES = 256

/** Token at the end of a text. Byte 0 occurs in no text, so the vocabulary needs no additional row. */
export const END_OF_TEXT = 0

/** Bytes that are printable in Latin-1. Their characters are themselves. */
const PRINTABLE = [
  ['!', '~'],
  ['¡', '¬'],
  ['®', 'ÿ'],
] as const

/** Character of each byte in GPT-2's alphabet. Bytes that are not printable have the characters from 256 on, in order. */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  const prints = (byte: number) =>
    PRINTABLE.some(([from, to]) => byte >= from.charCodeAt(0) && byte <= to.charCodeAt(0))
  let next = BYTES
  return Array.from({ length: BYTES }, (_, byte) =>
    String.fromCharCode(prints(byte) ? byte : next++),
  )
})()

/** Parameters of a byte-level BPE. */
export interface ByteLevelBpe {
  readonly addedTokens: readonly object[]
  /** True if the text is split into words first, as in GPT-2. */
  readonly useRegex: boolean
  readonly vocab: Readonly<Record<string, number>>
  readonly merges: readonly unknown[]
}

/** Contents of a tokenizer.json for a byte-level BPE, as the tokenizers library reads it. */
export function byteLevelBpe({ addedTokens, useRegex, vocab, merges }: ByteLevelBpe) {
  const byteLevel = {
    type: 'ByteLevel',
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: useRegex,
  }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens,
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: { ...byteLevel },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  }
}

/** Contents of a tokenizer.json whose tokens are the bytes. */
export function byteTokenizer(): object {
  const vocab = BYTE_CHARACTERS.map((character, byte) => [character, byte])
  return byteLevelBpe({
    addedTokens: [],
    useRegex: false,
    vocab: Object.fromEntries(vocab),
    merges: [],
  })
}

/**
 * Contents of a tokenizer_config.json for a byte-level BPE.
 * @param more fields of the model: `model_max_length`, `eos_token`
 */
export function tokenizerConfig(more: Readonly<Record<string, unknown>>): object {
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    clean_up_tokenization_spaces: false,
    add_bos_token: false,
    add_eos_token: false,
    ...more,
  }
}
