/** `gensyn-node generate`: continues a prompt, and prints the text while it is generated. */
import type { Clock } from '../../protocols/clock.ts'
import { Random } from '../../stages/random.ts'
import type { Terminal } from '../base/terminal.ts'
import { GeneratedText } from './generated-text.ts'
import { type End, generateTokens, loadModel } from './loaded-model.ts'
import type { OpenModelOptions } from './open-model.ts'
import type { Sampling } from './token-sampling.ts'

/** Options of `gensyn-node generate`. */
export interface GenerateCommandOptions extends OpenModelOptions, Sampling {
  readonly prompt: string
  readonly maxTokens: number
  readonly seed: number
  readonly stop: readonly string[]
  readonly context?: number | undefined
  readonly threads: number
}

/** Generates a text. @throws InputError if the model cannot be opened, or the prompt is empty or too long */
export async function generate(
  options: GenerateCommandOptions,
  { terminal, clock }: { terminal: Terminal; clock: Clock },
): Promise<void> {
  const compute = { provider: 'cpu', threads: options.threads } as const
  const { decoder, tokenizer, context } = await loadModel(options, compute)
  try {
    const encoded = Array.from(tokenizer.encode(options.prompt))
    const prompt = Int32Array.from([...tokenizer.beginning, ...encoded])
    const text = new GeneratedText(tokenizer, options.stop)
    const tokens: number[] = []
    const startMs = clock.now()
    terminal.text(options.prompt)
    const stream = generateTokens(decoder, prompt, {
      sampling: options,
      random: new Random(options.seed).stream('generate'),
      maxTokens: options.maxTokens,
      context: options.context ?? context,
      endOfText: tokenizer.endOfText,
    })
    let end: End | 'stop' = 'stop'
    while (!text.stopped) {
      const { value, done } = await stream.next()
      if (done === true) {
        end = value
        terminal.text(text.finish())
        break
      }
      tokens.push(value)
      terminal.text(text.add(value))
    }
    terminal.line('')
    const seconds = (clock.now() - startMs) / 1000
    terminal.event({ type: 'generated', text: text.text, tokens, end, seconds })
  } finally {
    await decoder.close()
  }
}
