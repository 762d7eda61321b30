/** The parts of Hugging Face's tokenizer.json that this folder reads. */

interface AddedToken {
  readonly id: number
  readonly content: string
  readonly special?: boolean
}

export interface TokenizerJson {
  readonly model: {
    readonly type?: string
    readonly vocab: Readonly<Record<string, number>> | readonly (readonly [string, number])[]
    readonly merges?: readonly (string | readonly [string, string])[]
  }
  readonly added_tokens?: readonly AddedToken[]
  readonly normalizer?: unknown
  readonly pre_tokenizer?: PreTokenizerJson | null
}

export interface PreTokenizerJson {
  readonly type?: string
  readonly use_regex?: boolean
  readonly add_prefix_space?: boolean
  readonly pattern?: { readonly Regex?: string }
  readonly pretokenizers?: readonly PreTokenizerJson[]
}
