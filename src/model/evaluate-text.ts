/** The loss of a model on a text of any length, read as it is needed. */
import type { Decoder } from '../../stages/decoder.ts'
import { InputError } from '../base/errors.ts'
import { textParts } from '../data/text-parts.ts'
import type { ModelTokenizer } from './tokenizer-files.ts'

export interface Evaluation {
  /** Tokens that were predicted: all but the first. */
  readonly tokens: number
  /** Of the text that they make up. */
  readonly bytes: number
  /** Mean cross-entropy a token. */
  readonly nats: number
  readonly bitsPerByte: number
  readonly perplexity: number
}

export interface EvaluateOptions {
  /** Of the text, for messages. */
  readonly name: string
  /** Tokens that the model sees at a time. */
  readonly context: number
  /**
   * From window to window. As long as the context, windows stand side by side; shorter, each token but the first ones
   * is predicted from at least `context - stride` before it, which takes longer and gives a lower loss.
   */
  readonly stride: number
  /** Told the tokens scored so far. */
  readonly progress?: (tokens: number) => void
}

/** Each token but the first is predicted once. @throws InputError for a text of less than two tokens */
export async function evaluateText(
  decoder: Decoder,
  tokenizer: ModelTokenizer,
  text: AsyncIterable<Uint8Array>,
  { name, context, stride, progress }: EvaluateOptions,
): Promise<Evaluation> {
  const { hiddenSize } = decoder.model
  let pending: number[] = []
  /** Targets at the front of `pending` that have been scored. */
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
      // The first token is predicted by nobody.
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
