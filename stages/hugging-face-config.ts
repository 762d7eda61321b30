/**
 * Reads and writes a model's shape as Hugging Face's config.json. A setting that is not implemented here is refused by its key,
 * because a model with a wrong setting would train without an error.
 */
import { headSizeOf, type ModelConfig } from './model.ts'
import { NO_SCALING, type RopeScaling } from './rope.ts'

/** Error for a config.json that is invalid or has a setting that is not implemented. The message names the key. */
export class HuggingFaceConfigError extends Error {
  override readonly name = 'HuggingFaceConfigError'
}

type Json = Readonly<Record<string, unknown>>

/** Sizes without a default. */
const SIZES = {
  vocab_size: 'vocabSize',
  hidden_size: 'hiddenSize',
  intermediate_size: 'intermediateSize',
  num_hidden_layers: 'layers',
  num_attention_heads: 'heads',
} as const satisfies Readonly<Record<string, keyof ModelConfig>>

/** Settings with the one value that is implemented. It is Hugging Face's default, except for the first key. */
const FIXED: Json = {
  model_type: 'llama',
  hidden_act: 'silu',
  attention_bias: false,
  mlp_bias: false,
  attention_dropout: 0,
  partial_rotary_factor: 1,
  rope_interleaved: false,
}

/** Other keys that this file reads. */
const READ = [
  'num_key_value_heads',
  'head_dim',
  'rms_norm_eps',
  'rope_theta',
  'rope_scaling',
  'rope_parameters',
  'tie_word_embeddings',
]

/** Keys that do not change the computation. */
const IGNORED = [
  '_name_or_path',
  'architectures',
  'bos_token_id',
  'dtype',
  'eos_token_id',
  'initializer_range',
  'is_llama_config',
  'max_position_embeddings',
  'pad_token_id',
  'pretraining_tp',
  'torch_dtype',
  'transformers.js_config',
  'transformers_version',
  'use_cache',
]

const KNOWN = new Set([...Object.keys(SIZES), ...Object.keys(FIXED), ...READ, ...IGNORED])

/** Hugging Face's default, which older files omit. */
const ROPE_THETA = 10_000
const RMS_NORM_EPS = 1e-6

/** @param config a parsed config.json of a Llama. @throws HuggingFaceConfigError for a key or a value that is not supported */
export function modelFromHuggingFace(config: unknown): ModelConfig {
  const json = objectOf(config, 'config.json')
  for (const key of Object.keys(json)) {
    if (!KNOWN.has(key))
      throw new HuggingFaceConfigError(`${key} is not supported; a Llama has none`)
  }
  for (const [key, only] of Object.entries(FIXED)) {
    const value = json[key] ?? (key === 'model_type' ? undefined : only)
    if (value === only) continue
    throw new HuggingFaceConfigError(
      `${key} is ${shown(value)}; supported is ${JSON.stringify(only)}`,
    )
  }
  const sizes = Object.entries(SIZES).map(([key, name]) => [name, wholeNumber(json, key)])
  const { heads, hiddenSize, ...rest } = Object.fromEntries(sizes) as Record<
    (typeof SIZES)[keyof typeof SIZES],
    number
  >
  const rope = objectOf(json.rope_parameters ?? {}, 'rope_parameters')
  const { rope_theta: ropeTheta, ...scaling } = rope
  const model = {
    ...rest,
    hiddenSize,
    heads,
    keyValueHeads: wholeNumber(json, 'num_key_value_heads', heads),
    headSize: wholeNumber(json, 'head_dim', hiddenSize / heads),
    ropeTheta: positive(
      json,
      'rope_theta',
      positive({ rope_theta: ropeTheta }, 'rope_theta', ROPE_THETA),
    ),
    ropeScaling: ropeScaling(objectOf(json.rope_scaling ?? scaling, 'rope_scaling')),
    rmsNormEps: positive(json, 'rms_norm_eps', RMS_NORM_EPS),
    tiedEmbeddings: flag(json, 'tie_word_embeddings'),
  }
  if (heads % model.keyValueHeads !== 0) {
    throw new HuggingFaceConfigError(
      `num_key_value_heads is ${model.keyValueHeads}; supported are divisors of the ${heads} num_attention_heads`,
    )
  }
  if (model.headSize % 2 !== 0) {
    throw new HuggingFaceConfigError(
      `head_dim is ${model.headSize}; rotary embedding needs an even whole number`,
    )
  }
  return model
}

/** Keys of each kind of scaling, and their names in RopeScaling. */
const SCALINGS: Readonly<
  Record<string, { type: RopeScaling['type']; keys: Readonly<Record<string, keyof RopeScaling>> }>
> = {
  default: { type: 'none', keys: {} },
  linear: { type: 'linear', keys: { factor: 'factor' } },
  llama3: {
    type: 'llama3',
    keys: {
      factor: 'factor',
      low_freq_factor: 'lowFrequencyFactor',
      high_freq_factor: 'highFrequencyFactor',
      original_max_position_embeddings: 'originalContext',
    },
  },
}

function ropeScaling(json: Json): RopeScaling {
  const { type, rope_type: kind = type ?? 'default', ...given } = json
  const row = SCALINGS[String(kind)]
  if (row === undefined) {
    throw new HuggingFaceConfigError(
      `rope_scaling.rope_type is ${shown(kind)}; supported are ${Object.keys(SCALINGS).join(', ')}`,
    )
  }
  for (const key of Object.keys(given)) {
    if (key in row.keys) continue
    throw new HuggingFaceConfigError(`rope_scaling.${key} is not supported with ${shown(kind)}`)
  }
  const numbers = Object.entries(row.keys).map(([key, name]) => [
    name,
    positive(given, key, undefined, 'rope_scaling.'),
  ])
  return { ...NO_SCALING, ...Object.fromEntries(numbers), type: row.type }
}

/** The config.json of a model for transformers 4 and 5. @param context longest context of the training, in tokens */
export function modelToHuggingFace(model: ModelConfig, context: number): Record<string, unknown> {
  const sizes = Object.entries(SIZES).map(([key, name]) => [key, model[name]])
  const scaling = model.ropeScaling ?? NO_SCALING
  const [kind, row] = Object.entries(SCALINGS).find(([, { type }]) => type === scaling.type)!
  const numbers = Object.entries(row.keys).map(([key, name]) => [key, scaling[name]])
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: FIXED.model_type,
    ...Object.fromEntries(sizes),
    num_key_value_heads: model.keyValueHeads,
    head_dim: headSizeOf(model),
    hidden_act: FIXED.hidden_act,
    attention_bias: false,
    mlp_bias: false,
    max_position_embeddings: context,
    rms_norm_eps: model.rmsNormEps,
    rope_theta: model.ropeTheta,
    rope_scaling:
      scaling.type === 'none' ? null : { rope_type: kind, ...Object.fromEntries(numbers) },
    tie_word_embeddings: model.tiedEmbeddings ?? false,
    torch_dtype: 'float32',
  }
}

function objectOf(value: unknown, name: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
  throw new HuggingFaceConfigError(`${name} is ${shown(value)}; expected is an object`)
}

function positive(json: Json, key: string, byDefault?: number, prefix = ''): number {
  const value = json[key] ?? byDefault
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value
  throw new HuggingFaceConfigError(
    `${prefix}${key} is ${shown(value)}; expected is a number above 0`,
  )
}

function wholeNumber(json: Json, key: string, byDefault?: number): number {
  const value = positive(json, key, byDefault)
  if (Number.isInteger(value)) return value
  throw new HuggingFaceConfigError(`${key} is ${value}; expected is a whole number`)
}

function flag(json: Json, key: string): boolean {
  const value = json[key] ?? false
  if (typeof value === 'boolean') return value
  throw new HuggingFaceConfigError(`${key} is ${shown(value)}; expected is true or false`)
}

function shown(value: unknown): string {
  return value === undefined ? 'missing' : JSON.stringify(value)
}
