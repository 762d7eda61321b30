/** The loss of a model on a text of any length, which is read part by part. */
import type { Decoder } from '../../stages/decoder.ts'
import { InputError } from '../base/errors.ts'
import { textParts } from '../data/text-parts.ts'
import type { ModelTokenizer } from './tokenizer-files.ts'

/** The result of an evaluation. */
export interface Evaluation {
  /** Number of predicted tokens: all but the first. */
  readonly tokens: number
  /** Size of the predicted text in bytes. */
  readonly bytes: number
  /** Mean cross-entropy, in nats a token. */
  readonly nats: number
  readonly bitsPerByte: number
  readonly perplexity: number
}

/** Options of an evaluation. */
export interface EvaluateOptions {
  /** Name of the text, for messages. */
  readonly name: string
  /** Tokens that the model sees at once. */
  readonly context: number
  /**
   * Tokens from window to window. With the context as the stride, windows do not overlap. With a shorter stride, each
   * later token is predicted from at least `context - stride` tokens, which takes longer and gives a lower loss.
   */
  readonly stride: number
  /** Called with the number of tokens predicted so far. */
  readonly progress?: (tokens: number) => void
}

/** Predicts each token but the first once. @throws InputError for a text of less than two tokens */
export async function evaluateText(
  decoder: Decoder,
  tokenizer: ModelTokenizer,
  text: AsyncIterable<Uint8Array>,
  { name, context, stride, progress }: EvaluateOptions,
): Promise<Evaluation> {
  const { hiddenSize } = decoder.model
  let pending: number[] = []
  /** Number of targets at the front of `pending` that were already scored. */
  let scored = 0
  let tokens = 0
  let nats = 0
  let bytes = 0
  const score = async (window: readonly number[]) => {
    const input = Int32Array.from(window.slice(0, -1))
    const targets = Int32Array.from(window.slice(1 + scored))
    const rows = await decoder.read(decoder.begin(), input)
    const scores = await decoder.scores(rows.subarray(scored * hiddenSize), targets)
    for (const each of scores) nats -= each
    tokens += targets.length
    progress?.(tokens)
  }
  for await (const { data, continues } of textParts(text, name, tokenizer.isBytes)) {
    const fresh = tokenizer.encode(data, continues)
    bytes += Buffer.byteLength(data)
    for (let i = 0; i < fresh.length; i++) {
      // The first token is not predicted, so that its bytes do not count.
      if (tokens === 0 && pending.length === 0) bytes -= tokenizer.decode([fresh[i]!]).length
      pending.push(fresh[i]!)
    }
    while (pending.length > context) {
      await score(pending.slice(0, context + 1))
      pending = pending.slice(stride)
      scored = context - stride
    }
  }
  if (pending.length > scored + 1) await score(pending)
  if (tokens === 0) throw new InputError('The text is too short: at least two tokens are needed.')
  const mean = nats / tokens
  return {
    tokens,
    bytes,
    nats: mean,
    bitsPerByte: nats / Math.LN2 / bytes,
    perplexity: Math.exp(mean),
  }
}
