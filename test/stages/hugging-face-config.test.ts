/** Published configs, and configs that are refused. */
import { describe, expect, it } from 'vitest'
import {
  HuggingFaceConfigError,
  modelFromHuggingFace,
  modelToHuggingFace,
} from '../../stages/hugging-face-config.ts'
import { NO_SCALING } from '../../stages/rope.ts'
import { config } from './fixtures.ts'

/** meta-llama/Llama-3.2-1B. */
const LLAMA_32 = {
  architectures: ['LlamaForCausalLM'],
  attention_bias: false,
  attention_dropout: 0.0,
  bos_token_id: 128000,
  eos_token_id: 128001,
  head_dim: 64,
  hidden_act: 'silu',
  hidden_size: 2048,
  initializer_range: 0.02,
  intermediate_size: 8192,
  max_position_embeddings: 131072,
  mlp_bias: false,
  model_type: 'llama',
  num_attention_heads: 32,
  num_hidden_layers: 16,
  num_key_value_heads: 8,
  pretraining_tp: 1,
  rms_norm_eps: 1e-5,
  rope_scaling: {
    factor: 32.0,
    high_freq_factor: 4.0,
    low_freq_factor: 1.0,
    original_max_position_embeddings: 8192,
    rope_type: 'llama3',
  },
  rope_theta: 500000.0,
  tie_word_embeddings: true,
  torch_dtype: 'bfloat16',
  transformers_version: '4.45.0.dev0',
  use_cache: true,
  vocab_size: 128256,
}

const llama32 = {
  vocabSize: 128256,
  hiddenSize: 2048,
  intermediateSize: 8192,
  layers: 16,
  heads: 32,
  keyValueHeads: 8,
  headSize: 64,
  ropeTheta: 500000,
  ropeScaling: {
    type: 'llama3',
    factor: 32,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalContext: 8192,
  },
  rmsNormEps: 1e-5,
  tiedEmbeddings: true,
}

describe('a config.json', () => {
  it('is read, Llama 3.2', () => {
    expect(modelFromHuggingFace(LLAMA_32)).toEqual(llama32)
  })

  it("has Hugging Face's defaults for keys that an old file omits", () => {
    const { vocab_size, hidden_size, intermediate_size, model_type } = LLAMA_32
    const old = { vocab_size, hidden_size, intermediate_size, model_type }
    expect(modelFromHuggingFace({ ...old, num_hidden_layers: 4, num_attention_heads: 32 })).toEqual(
      {
        ...llama32,
        layers: 4,
        keyValueHeads: 32,
        ropeTheta: 10000,
        ropeScaling: NO_SCALING,
        rmsNormEps: 1e-6,
        tiedEmbeddings: false,
      },
    )
  })

  it('is read in the form of transformers 5', () => {
    const { rope_theta, rope_scaling, torch_dtype, ...rest } = LLAMA_32
    const newer = { ...rest, dtype: torch_dtype, rope_parameters: { ...rope_scaling, rope_theta } }
    expect(modelFromHuggingFace(newer)).toEqual(llama32)
    const plain = { ...rest, rope_parameters: { rope_type: 'default', rope_theta } }
    expect(modelFromHuggingFace(plain).ropeScaling).toEqual(NO_SCALING)
  })

  it('is the same after writing and reading', () => {
    const linear = { ...NO_SCALING, type: 'linear', factor: 2 } as const
    for (const ropeScaling of [undefined, linear, llama32.ropeScaling as never]) {
      const { model } = config
      const written = modelToHuggingFace({ ...model, ropeScaling: ropeScaling ?? NO_SCALING }, 512)
      expect(written).toMatchObject({ max_position_embeddings: 512, model_type: 'llama' })
      expect(modelFromHuggingFace(JSON.parse(JSON.stringify(written)))).toEqual({
        ...model,
        headSize: 6,
        ropeScaling: ropeScaling ?? NO_SCALING,
        tiedEmbeddings: false,
      })
    }
  })

  it.each<[string, unknown, string]>([
    ['a list', [], 'config.json is []; expected is an object'],
    ['another model', { model_type: 'gpt2' }, 'model_type is "gpt2"; supported is "llama"'],
    ['no model', { model_type: undefined }, 'model_type is missing; supported is "llama"'],
    ['biases', { attention_bias: true }, 'attention_bias is true; supported is false'],
    ['another activation', { hidden_act: 'gelu' }, 'hidden_act is "gelu"; supported is "silu"'],
    ['dropout', { attention_dropout: 0.1 }, 'attention_dropout is 0.1; supported is 0'],
    ['a key of another kind', { sliding_window: 4096 }, 'sliding_window is not supported'],
    ['quantized', { quantization_config: {} }, 'quantization_config is not supported'],
    ['no size', { hidden_size: undefined }, 'hidden_size is missing; expected is a number above 0'],
    ['half a size', { vocab_size: 1.5 }, 'vocab_size is 1.5; expected is a whole number'],
    ['heads', { num_key_value_heads: 5 }, 'num_key_value_heads is 5; supported are divisors of'],
    ['odd heads', { head_dim: 63 }, 'head_dim is 63; rotary embedding needs an even'],
    [
      'a word for a flag',
      { tie_word_embeddings: 'no' },
      'tie_word_embeddings is "no"; expected is',
    ],
    [
      'another scaling',
      { rope_scaling: { type: 'dynamic', factor: 2 } },
      'rope_scaling.rope_type is "dynamic"; supported are default, linear, llama3',
    ],
    [
      'a scaling with more to it',
      { rope_scaling: { type: 'linear', factor: 2, beta: 1 } },
      'rope_scaling.beta is not supported with "linear"',
    ],
    [
      'a scaling with less to it',
      { rope_scaling: { rope_type: 'linear' } },
      'rope_scaling.factor is missing; expected is a number above 0',
    ],
  ])('is refused by the key: %s', (_, change, message) => {
    const value = Array.isArray(change) ? change : { ...LLAMA_32, ...(change as object) }
    expect(() => modelFromHuggingFace(value)).toThrow(HuggingFaceConfigError)
    expect(() => modelFromHuggingFace(value)).toThrow(message)
  })
})
