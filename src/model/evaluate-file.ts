/** `gensyn-node eval`: nats, bits a byte and perplexity of a model on a text. */
import { createReadStream } from 'node:fs'
import type { Clock } from '../../protocols/clock.ts'
import { InputError, systemCode } from '../base/errors.ts'
import type { Terminal } from '../base/terminal.ts'
import { evaluateText } from './evaluate-text.ts'
import { loadModel } from './loaded-model.ts'
import type { OpenModelOptions } from './open-model.ts'

export interface EvaluateFileOptions extends OpenModelOptions {
  /** `-` for standard input. */
  readonly file: string
  readonly context?: number | undefined
  readonly stride?: number | undefined
  readonly threads: number
}

/** Between two lines of progress. */
const PROGRESS_MS = 5_000

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
        `--stride ${stride} is longer than the context of ${context}: text would be left out.`,
      )
    }
    const begun = clock.now()
    let told = begun
    const progress = (tokens: number) => {
      if (clock.now() - told < PROGRESS_MS) return
      told = clock.now()
      terminal.line(`  ${tokens} tokens, ${Math.round((tokens / (told - begun)) * 1000)} a second`)
    }
    const text = file === '-' ? process.stdin : createReadStream(file)
    const evaluation = await evaluateText(decoder, tokenizer, text, {
      name: file,
      context,
      stride,
      progress,
    })
    const seconds = (clock.now() - begun) / 1000
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
