/**
 * The parts of `@huggingface/tokenizers` that are used here, with types: those it ships name their files without an
 * extension, which TypeScript does not follow from an ES module.
 */
import * as library from '@huggingface/tokenizers'

interface LibraryModel {
  (words: readonly string[]): string[]
  /** By id; empty where an id is not used. */
  readonly vocab: readonly (string | undefined)[]
  readonly tokens_to_ids: ReadonlyMap<string, number>
  readonly unk_token_id: number | undefined
}

type LibraryPreTokenizer = (text: string, options?: { section_index: number }) => string[]

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
