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
  withCheckpoint(command(all, 'generate', 'text that goes on from a prompt'))
    .requiredOption('--prompt <text>', 'what to go on from')
    .option('--max-tokens <count>', 'at most so many', positiveNumber, 128)
    .option('--temperature <number>', '0 takes the most likely token always', upTo(100), 0.8)
    .option('--top-k <count>', 'draw from so many of the most likely; 0 for all', wholeNumber, 0)
    .option('--top-p <share>', 'draw from those that make up this probability', upTo(1), 1)
    .option('--seed <number>', 'the same seed gives the same text', wholeNumber, 1)
    .option('--stop <text...>', 'end before any of these')
    .option('--context <tokens>', "prompt and text in all (default: the model's)", positiveNumber)
    .option('--threads <count>', 'of ONNX Runtime', positiveNumber, availableParallelism())
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
