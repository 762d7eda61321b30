/** `gensyn-node eval`: the loss of a model on a text, as nats a token, bits a byte and perplexity. */
import { createReadStream } from 'node:fs'
import type { Clock } from '../../protocols/clock.ts'
import { InputError, systemCode } from '../base/errors.ts'
import type { Terminal } from '../base/terminal.ts'
import { evaluateText } from './evaluate-text.ts'
import { loadModel } from './loaded-model.ts'
import type { OpenModelOptions } from './open-model.ts'

/** Options of `gensyn-node eval`. */
export interface EvaluateFileOptions extends OpenModelOptions {
  /** Path of the text; `-` for standard input. */
  readonly file: string
  /** Tokens that the model sees at once; undefined for the model's context. */
  readonly context?: number | undefined
  /** Tokens from window to window; undefined for `context`. */
  readonly stride?: number | undefined
  readonly threads: number
}

/** Interval between two lines of progress, in milliseconds. */
const PROGRESS_MS = 5_000

/**
 * Evaluates a model, and prints the result.
 * @throws InputError if the model or the text cannot be read, or the stride exceeds the context
 */
export async function evaluateFile(
  options: EvaluateFileOptions,
  { terminal, clock }: { terminal: Terminal; clock: Clock },
): Promise<void> {
  const { file } = options
  const compute = { provider: 'cpu', threads: options.threads } as const
  const { decoder, tokenizer, context: trained, step } = await loadModel(options, compute)
  try {
    const context = options.context ?? trained
    const stride = options.stride ?? context
    if (stride > context) {
      throw new InputError(
        `--stride ${stride} is longer than the context of ${context}: parts of the text would be left out.`,
      )
    }
    const startMs = clock.now()
    let lastLineMs = startMs
    const progress = (tokens: number) => {
      if (clock.now() - lastLineMs < PROGRESS_MS) return
      lastLineMs = clock.now()
      const perSecond = Math.round((tokens / (lastLineMs - startMs)) * 1000)
      terminal.line(`  ${tokens} tokens, ${perSecond} a second`)
    }
    const text = file === '-' ? process.stdin : createReadStream(file)
    const evaluation = await evaluateText(decoder, tokenizer, text, {
      name: file,
      context,
      stride,
      progress,
    })
    const seconds = (clock.now() - startMs) / 1000
    terminal.event({ type: 'evaluated', file, step, context, stride, ...evaluation, seconds })
    const { tokens, bytes, nats, bitsPerByte, perplexity } = evaluation
    terminal.line(`${tokens} tokens, ${bytes} bytes in ${seconds.toFixed(1)} s`)
    terminal.line(`${nats.toFixed(4)} nats a token, perplexity ${perplexity.toFixed(4)}`)
    terminal.line(`${bitsPerByte.toFixed(4)} bits a byte`)
  } catch (error) {
    const code = systemCode(error)
    if (code === undefined || error instanceof InputError) throw error
    throw new InputError(
      `${file} cannot be read (${code}). Name a text file, or - for standard input.`,
    )
  } finally {
    await decoder.close()
  }
}
