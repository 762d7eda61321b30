/**
 * Types of the used parts of `@huggingface/tokenizers`. The library's own types import files without an extension, which
 * TypeScript does not resolve in an ES module.
 */
import * as library from '@huggingface/tokenizers'

interface LibraryModel {
  (words: readonly string[]): string[]
  /** Tokens by id; undefined for an id without a token. */
  readonly vocab: readonly (string | undefined)[]
  readonly tokens_to_ids: ReadonlyMap<string, number>
  readonly unk_token_id: number | undefined
}

type LibraryPreTokenizer = (text: string, options?: { section_index: number }) => string[]

/** A tokenizer of the library. */
export interface LibraryTokenizer {
  readonly normalizer: ((text: string) => string) | null
  readonly pre_tokenizer: LibraryPreTokenizer | null
  readonly model: LibraryModel
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] }
  decode(tokens: readonly number[], options: { skip_special_tokens: boolean }): string
}

interface Library {
  readonly Tokenizer: new (config: object, more: object) => LibraryTokenizer
  readonly ByteLevelPreTokenizer: new (config: object) => LibraryPreTokenizer
  readonly SequencePreTokenizer: new (config: object) => LibraryPreTokenizer
}

export const { Tokenizer, ByteLevelPreTokenizer, SequencePreTokenizer } =
  library as unknown as Library
