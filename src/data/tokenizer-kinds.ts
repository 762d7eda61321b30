/** The schema of tokenizer.json, and the refusal of kinds whose tokens would differ from the reference's. */
import { z } from 'zod'
import { InputError } from '../base/errors.ts'
import { addedTokenSchema } from './added-tokens.ts'

/** A pre-tokenizer, or a sequence of them, in tokenizer.json. */
export interface PreTokenizerConfig {
  readonly type: string
  readonly pretokenizers?: readonly PreTokenizerConfig[] | undefined
  readonly use_regex?: boolean | undefined
  readonly add_prefix_space?: boolean | undefined
  readonly split?: boolean | undefined
  readonly behavior?: string | undefined
  readonly invert?: boolean | undefined
}

const preTokenizer: z.ZodType<PreTokenizerConfig> = z.lazy(() =>
  z.looseObject({
    type: z.string(),
    pretokenizers: z.array(preTokenizer).optional(),
    use_regex: z.boolean().optional(),
    add_prefix_space: z.boolean().optional(),
    split: z.boolean().optional(),
    behavior: z.string().optional(),
    invert: z.boolean().optional(),
  }),
)

interface NormalizerConfig {
  readonly type: string
  readonly normalizers?: readonly NormalizerConfig[] | undefined
}

const normalizer: z.ZodType<NormalizerConfig> = z.lazy(() =>
  z.looseObject({ type: z.string(), normalizers: z.array(normalizer).optional() }),
)

const schema = z.looseObject({
  model: z.looseObject({
    type: z.string().optional(),
    vocab: z.unknown(),
    merges: z.array(z.unknown()).optional(),
    byte_fallback: z.boolean().optional(),
    dropout: z.number().nullish(),
    continuing_subword_prefix: z.string().nullish(),
    end_of_word_suffix: z.string().nullish(),
  }),
  normalizer: normalizer.nullish().transform((value) => value ?? null),
  pre_tokenizer: preTokenizer.nullish().transform((value) => value ?? null),
  post_processor: z
    .looseObject({})
    .nullish()
    .transform((value) => value ?? null),
  decoder: z
    .looseObject({})
    .nullish()
    .transform((value) => value ?? null),
  added_tokens: z
    .array(addedTokenSchema)
    .nullish()
    .transform((value) => value ?? []),
})

/** Content of tokenizer.json. */
export type TokenizerConfig = z.output<typeof schema>

const NORMALIZERS = ['NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'Prepend', 'Replace', 'Strip']
const PRE_TOKENIZERS = ['ByteLevel', 'Metaspace', 'Split', 'Digits', 'WhitespaceSplit']

/** Parses a tokenizer.json. @throws InputError if it is malformed or incomplete */
export function parseTokenizerJson(bytes: Uint8Array, name: string): TokenizerConfig {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new InputError(`${name} is not JSON (${(error as Error).message}): copy it again.`)
  }
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const { path, message } = result.error.issues[0]!
  throw new InputError(
    `${name} is not a tokenizer.json of Hugging Face: ${path.join('.')}: ${message}`,
  )
}

/** Checks the kind of a tokenizer. @throws InputError that names the first part that is not supported */
export function checkKind(config: TokenizerConfig, name: string): void {
  const refuse = (what: string): never => {
    throw new InputError(
      `${name} has ${what}, which is not supported: its tokens would differ from those of its model. ` +
        'Supported are byte-level BPE and Unigram; `gensyn-node tokenizer train` makes one.',
    )
  }
  const { model } = config
  const kind =
    model.type ?? (Array.isArray(model.vocab) ? 'Unigram' : model.merges ? 'BPE' : 'none')
  if (kind !== 'BPE' && kind !== 'Unigram') refuse(`a model of type ${kind}`)
  if (model.dropout) refuse('a dropout of merges')
  if (model.continuing_subword_prefix || model.end_of_word_suffix) refuse('marks of subwords')
  for (const { type } of rows(config.normalizer, 'normalizers')) {
    if (!NORMALIZERS.includes(type)) refuse(`a normalizer of type ${type}`)
  }
  const before = rows(config.pre_tokenizer, 'pretokenizers')
  before.forEach(({ type, behavior, invert }, index) => {
    if (!PRE_TOKENIZERS.includes(type)) refuse(`a pre-tokenizer of type ${type}`)
    // ByteLevel changes the text, so that a pre-tokenizer after it would get other characters.
    const isLast = index === before.length - 1
    if (type === 'ByteLevel' && !isLast) refuse('ByteLevel before another pre-tokenizer')
    if (type !== 'Split') return
    const wanted = invert ? ['Removed'] : ['Removed', 'Isolated']
    if (!wanted.includes(behavior ?? '')) {
      refuse(`a Split ${invert ? 'inverted and ' : ''}${behavior}`)
    }
  })
  const odd = config.added_tokens.find((token) => token.single_word)
  if (odd !== undefined) refuse(`the added token ${odd.content}, which matches whole words only`)
}

function rows<
  Key extends string,
  T extends { readonly type: string } & { readonly [K in Key]?: readonly T[] | undefined },
>(config: T | null, inner: Key): T[] {
  if (config === null) return []
  return config.type === 'Sequence'
    ? (config[inner] ?? []).flatMap((row) => rows(row, inner))
    : [config]
}
