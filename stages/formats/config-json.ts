/** Interim. */
import type { ModelConfig } from '../model.ts'

export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

export function configJson(model: ModelConfig, context: number): Record<string, unknown> {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: model.vocabSize,
    hidden_size: model.hiddenSize,
    intermediate_size: model.intermediateSize,
    num_hidden_layers: model.layers,
    num_attention_heads: model.heads,
    num_key_value_heads: model.keyValueHeads,
    head_dim: model.hiddenSize / model.heads,
    rope_theta: model.ropeTheta,
    rms_norm_eps: model.rmsNormEps,
    hidden_act: 'silu',
    attention_bias: false,
    mlp_bias: false,
    tie_word_embeddings: false,
    max_position_embeddings: context,
    torch_dtype: 'float32',
  }
}

export function modelOfConfigJson(json: Record<string, unknown>): {
  model: ModelConfig
  context: number
} {
  const number = (key: string) => json[key] as number
  if (json.model_type !== 'llama') throw new ConfigError(`model_type ${json.model_type}`)
  return {
    model: {
      vocabSize: number('vocab_size'),
      hiddenSize: number('hidden_size'),
      intermediateSize: number('intermediate_size'),
      layers: number('num_hidden_layers'),
      heads: number('num_attention_heads'),
      keyValueHeads: number('num_key_value_heads'),
      ropeTheta: number('rope_theta'),
      rmsNormEps: number('rms_norm_eps'),
    },
    context: number('max_position_embeddings'),
  }
}
