/** A model in memory, ready to read tokens. */

import { Decoder, type DecoderOptions } from '../../stages/decoder.ts'
import { modelTensors } from '../../stages/parameters.ts'
import type { Random } from '../../stages/random.ts'
import { sizeOf } from '../../stages/shape.ts'
import { InputError } from '../base/errors.ts'
import { type OpenModelOptions, openModel } from './open-model.ts'
import { type Sampling, sample } from './token-sampling.ts'
import type { ModelTokenizer } from './tokenizer-files.ts'

export interface LoadedModel {
  readonly decoder: Decoder
  readonly tokenizer: ModelTokenizer
  /** Tokens that it was trained on at a time. */
  readonly context: number
  readonly step: number | null
}

/** The caller closes its decoder. */
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

/** Why no token follows. */
export type End = 'end of text' | 'length' | 'context'

export interface GenerateOptions {
  readonly sampling: Sampling
  readonly random: Random
  readonly maxTokens: number
  /** Tokens in all, the prompt's too. */
  readonly context: number
  readonly endOfText: number | null
}

/** Yields token after token; returns why it ends. @throws InputError if there is nothing to go on from, or no room */
export async function* generateTokens(
  decoder: Decoder,
  prompt: Int32Array,
  { sampling, random, maxTokens, context, endOfText }: GenerateOptions,
): AsyncGenerator<number, End> {
  if (prompt.length === 0) throw new InputError('The prompt is empty: give at least one character.')
  if (prompt.length >= context) {
    throw new InputError(
      `The prompt has ${prompt.length} tokens, and the model's context is ${context}: ` +
        'take a shorter one, or allow more by --context.',
    )
  }
  const past = decoder.begin()
  let given = prompt
  for (let made = 0; made < maxTokens; made++) {
    if (past.length + given.length > context) return 'context'
    const rows = await decoder.read(past, given)
    const logits = await decoder.logits(rows.subarray(-decoder.model.hiddenSize))
    const token = sample(logits, sampling, random)
    if (token === endOfText) return 'end of text'
    yield token
    given = Int32Array.of(token)
  }
  return 'length'
}
