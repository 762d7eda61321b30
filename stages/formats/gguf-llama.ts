/** A Llama as llama.cpp reads it: metadata, names, and the order of the rows of rotary embedding. */
import { headSizeOf, type ModelConfig } from '../model.ts'
import { frequencies, type RopeType } from '../rope.ts'
import { ENCODINGS, type ExportDtype, type Reordering } from './encodings.ts'
import { type GgufMetadata, type GgufTensor, planGguf } from './gguf.ts'
import type { ModelTensor, Piece } from './piece.ts'

export interface GgufOptions {
  readonly name: string
  /** Context length of the training, in tokens. */
  readonly context: number
  readonly dtype: ExportDtype
  readonly tokenizer: GgufMetadata
}

/** Names by the end of the Hugging Face name. Layers have `blk.N.` in place of `model.layers.N.`. */
const NAMES: Readonly<Record<string, string>> = {
  'model.embed_tokens.weight': 'token_embd.weight',
  'model.norm.weight': 'output_norm.weight',
  'lm_head.weight': 'output.weight',
  'input_layernorm.weight': 'attn_norm.weight',
  'self_attn.q_proj.weight': 'attn_q.weight',
  'self_attn.k_proj.weight': 'attn_k.weight',
  'self_attn.v_proj.weight': 'attn_v.weight',
  'self_attn.o_proj.weight': 'attn_output.weight',
  'post_attention_layernorm.weight': 'ffn_norm.weight',
  'mlp.gate_proj.weight': 'ffn_gate.weight',
  'mlp.up_proj.weight': 'ffn_up.weight',
  'mlp.down_proj.weight': 'ffn_down.weight',
}

export function planGgufLlama(
  model: ModelConfig,
  tensors: readonly ModelTensor[],
  options: GgufOptions,
): Piece[] {
  return planGguf(
    [...architecture(model, options), ...options.tokenizer],
    [
      ...SCALINGS[model.ropeScaling?.type ?? 'none'](model).tensors,
      ...tensors.map((tensor) => ggufTensor(model, tensor, options.dtype)),
    ],
  )
}

function architecture(model: ModelConfig, { name, context, dtype }: GgufOptions): GgufMetadata {
  const headSize = headSizeOf(model)
  return [
    ['general.architecture', { string: 'llama' }],
    ['general.name', { string: name }],
    ['general.file_type', { uint32: ENCODINGS[dtype].gguf.file }],
    ['general.quantization_version', { uint32: 2 }],
    ['llama.vocab_size', { uint32: model.vocabSize }],
    ['llama.context_length', { uint32: context }],
    ['llama.embedding_length', { uint32: model.hiddenSize }],
    ['llama.block_count', { uint32: model.layers }],
    ['llama.feed_forward_length', { uint32: model.intermediateSize }],
    ['llama.attention.head_count', { uint32: model.heads }],
    ['llama.attention.head_count_kv', { uint32: model.keyValueHeads }],
    ['llama.attention.key_length', { uint32: headSize }],
    ['llama.attention.value_length', { uint32: headSize }],
    ['llama.attention.layer_norm_rms_epsilon', { float32: model.rmsNormEps }],
    ['llama.rope.dimension_count', { uint32: headSize }],
    ['llama.rope.freq_base', { float32: model.ropeTheta }],
    ...SCALINGS[model.ropeScaling?.type ?? 'none'](model).metadata,
  ]
}

interface Scaling {
  readonly metadata: GgufMetadata
  readonly tensors: readonly GgufTensor[]
}

/** Metadata of each kind of scaling for long contexts. */
const SCALINGS: Readonly<Record<RopeType, (model: ModelConfig) => Scaling>> = {
  none: () => ({ metadata: [], tensors: [] }),
  linear: ({ ropeScaling }) => ({
    metadata: [
      ['llama.rope.scaling.type', { string: 'linear' }],
      ['llama.rope.scaling.factor', { float32: ropeScaling!.factor }],
    ],
    tensors: [],
  }),
  /** Divisor of each frequency. */
  llama3: (model) => {
    const { ropeScaling: _, ...unscaled } = model
    const scaled = frequencies(model)
    const source = Float32Array.from(frequencies(unscaled), (each, i) => each / scaled[i]!)
    return {
      metadata: [],
      tensors: [{ name: 'rope_freqs.weight', encoding: ENCODINGS.float32, source }],
    }
  },
}

function ggufTensor(model: ModelConfig, source: ModelTensor, dtype: ExportDtype): GgufTensor {
  const [, layer, own] = /^model\.layers\.(\d+)\.(.+)$/.exec(source.name) ?? []
  const name = NAMES[own ?? source.name]!
  return {
    name: layer === undefined ? name : `blk.${layer}.${name}`,
    source,
    encoding: ENCODINGS[dtypeOf(source, dtype)],
    reordering: /[qk]_proj/.test(source.name) ? interleaved(model, source) : undefined,
  }
}

/**
 * Type of a tensor. Norms are float32, as llama.cpp needs. Rows that blocks do not divide are halves, as in llama.cpp's
 * converter.
 */
function dtypeOf({ shape }: ModelTensor, dtype: ExportDtype): ExportDtype {
  if (shape.length === 1) return 'float32'
  return shape.at(-1)! % ENCODINGS[dtype].block === 0 ? dtype : 'float16'
}

/**
 * Order of the rows of the projections in llama.cpp. Rotary embedding rotates features i and i + d/2 of a head together in
 * Hugging Face's order, and 2i and 2i + 1 in llama.cpp's order.
 */
function interleaved(model: ModelConfig, { shape }: ModelTensor): Reordering {
  const headSize = headSizeOf(model)
  const width = shape.at(-1)!
  const unit = headSize * width
  return {
    unit,
    reorder(elements) {
      const result = new Float32Array(elements.length)
      for (let row = 0; row < elements.length / width; row++) {
        const [head, at] = [Math.floor(row / headSize), row % headSize]
        const from = head * headSize + (at % 2) * (headSize / 2) + Math.floor(at / 2)
        result.set(elements.subarray(from * width, (from + 1) * width), row * width)
      }
      return result
    },
  }
}
