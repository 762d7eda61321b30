/**
 * The tokenizer of a model whose tokens are bytes, in the words of others: byte-level BPE without merges. GPT-2's
 * alphabet gives each byte a character that can be printed; here its token's number is the byte.
 */

export const BYTES = 256

/** The token that ends a text: byte 0 occurs in none, so that the vocabulary needs no row more. */
export const END_OF_TEXT = 0

/** Printable in Latin-1, so they stand for themselves. */
const PRINTABLE = [
  ['!', '~'],
  ['¡', '¬'],
  ['®', 'ÿ'],
] as const

/** The character of each byte, in GPT-2's alphabet: those that do not print go by characters from 256 on, in order. */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  const prints = (byte: number) =>
    PRINTABLE.some(([from, to]) => byte >= from.charCodeAt(0) && byte <= to.charCodeAt(0))
  let next = BYTES
  return Array.from({ length: BYTES }, (_, byte) =>
    String.fromCharCode(prints(byte) ? byte : next++),
  )
})()

/** What tells one byte-level BPE from another. */
export interface ByteLevelBpe {
  readonly addedTokens: readonly object[]
  /** Cuts the text into words first, as GPT-2 does. */
  readonly useRegex: boolean
  readonly vocab: Readonly<Record<string, number>>
  readonly merges: readonly unknown[]
}

/** tokenizer.json of a byte-level BPE, as the tokenizers library reads it. */
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

/** tokenizer.json whose tokens are the bytes. */
export function byteTokenizer(): object {
  const vocab = BYTE_CHARACTERS.map((character, byte) => [character, byte])
  return byteLevelBpe({
    addedTokens: [],
    useRegex: false,
    vocab: Object.fromEntries(vocab),
    merges: [],
  })
}

/** tokenizer_config.json of a byte-level BPE. @param more what its model has: `model_max_length`, `eos_token` */
export function tokenizerConfig(more: Readonly<Record<string, unknown>>): object {
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    clean_up_tokenization_spaces: false,
    add_bos_token: false,
    add_eos_token: false,
    ...more,
  }
}
