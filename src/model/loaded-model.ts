/** A model in memory, and the generation of tokens with it. */
import { Decoder, type DecoderOptions } from '../../stages/decoder.ts'
import { modelTensors } from '../../stages/parameters.ts'
import type { Random } from '../../stages/random.ts'
import { sizeOf } from '../../stages/shape.ts'
import { InputError } from '../base/errors.ts'
import { type OpenModelOptions, openModel } from './open-model.ts'
import { type Sampling, sample } from './token-sampling.ts'
import type { ModelTokenizer } from './tokenizer-files.ts'

/** A model that is loaded into memory. */
export interface LoadedModel {
  readonly decoder: Decoder
  readonly tokenizer: ModelTokenizer
  /** Number of tokens in the training context. */
  readonly context: number
  /** Step of the run; null for a model that is not a run's. */
  readonly step: number | null
}

/** Loads a model. The caller closes its decoder. @throws InputError if the model is missing or damaged */
export async function loadModel(
  options: OpenModelOptions,
  compute: DecoderOptions,
): Promise<LoadedModel> {
  const checkpoint = await openModel(options)
  const { model, files, tokenizer, context, step } = checkpoint
  try {
    const weights = new Map<string, Float32Array>()
    for (const { name, shape } of modelTensors(model)) {
      const into = new Float32Array(sizeOf(shape))
      await files.readInto(name, into)
      weights.set(name, into)
    }
    const decoder = new Decoder(model, (name) => weights.get(name)!, compute)
    return { decoder, tokenizer, context, step }
  } finally {
    await checkpoint.close()
  }
}

/** Reason for the end of a generated text. */
export type End = 'end of text' | 'length' | 'context'

/** Options for generating tokens. */
export interface GenerateOptions {
  readonly sampling: Sampling
  readonly random: Random
  readonly maxTokens: number
  /** Largest number of tokens with those of the prompt. */
  readonly context: number
  readonly endOfText: number | null
}

/**
 * Yields token after token, and returns the reason for the end.
 * @throws InputError if the prompt is empty, or fills the context
 */
export async function* generateTokens(
  decoder: Decoder,
  prompt: Int32Array,
  { sampling, random, maxTokens, context, endOfText }: GenerateOptions,
): AsyncGenerator<number, End> {
  if (prompt.length === 0) throw new InputError('The prompt is empty: give at least one character.')
  if (prompt.length >= context) {
    throw new InputError(
      `The prompt has ${prompt.length} tokens, and the model's context is ${context}: ` +
        'use a shorter prompt, or a larger --context.',
    )
  }
  const past = decoder.begin()
  let input = prompt
  for (let made = 0; made < maxTokens; made++) {
    if (past.length + input.length > context) return 'context'
    const rows = await decoder.read(past, input)
    const logits = await decoder.logits(rows.subarray(-decoder.model.hiddenSize))
    const token = sample(logits, sampling, random)
    if (token === endOfText) return 'end of text'
    yield token
    input = Int32Array.of(token)
  }
  return 'length'
}
