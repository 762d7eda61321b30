/** `gensyn-node generate` on the command line. */
import { availableParallelism } from 'node:os'
import { type Command, InvalidArgumentError } from 'commander'
import { systemClock } from '../../../protocols/clock.ts'
import {
  type CommandContext,
  command,
  positiveNumber,
  wholeNumber,
  withCheckpoint,
} from '../command-options.ts'

export function generateCommand(all: Command, { terminal }: CommandContext): void {
  withCheckpoint(command(all, 'generate', 'generate text from a prompt'))
    .requiredOption('--prompt <text>', 'text that the generated text continues')
    .option('--max-tokens <count>', 'maximum number of generated tokens', positiveNumber, 128)
    .option(
      '--temperature <number>',
      'randomness of the draw; 0 always takes the most likely token',
      upTo(100),
      0.8,
    )
    .option(
      '--top-k <count>',
      'draw from this many of the most likely tokens; 0 draws from all',
      wholeNumber,
      0,
    )
    .option(
      '--top-p <share>',
      'draw from the most likely tokens with this total probability',
      upTo(1),
      1,
    )
    .option('--seed <number>', 'the same seed gives the same text', wholeNumber, 1)
    .option('--stop <text...>', 'texts before which the generation ends')
    .option(
      '--context <tokens>',
      "maximum length of prompt and text together (default: the model's)",
      positiveNumber,
    )
    .option('--threads <count>', 'threads of ONNX Runtime', positiveNumber, availableParallelism())
    .action(async (options) => {
      const { generate } = await import('../../model/generate.ts')
      await generate({ ...options, stop: options.stop ?? [] }, { terminal, clock: systemClock })
    })
}

function upTo(most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (text.trim() === '' || !(value >= 0 && value <= most)) {
      throw new InvalidArgumentError(`a number from 0 to ${most} is needed.`)
    }
    return value
  }
}
