/** `gensyn-node eval` on the command line. */
import { availableParallelism } from 'node:os'
import type { Command } from 'commander'
import { systemClock } from '../../../protocols/clock.ts'
import { type CommandContext, command, positiveNumber, withCheckpoint } from '../command-options.ts'

export function evalCommand(all: Command, { terminal }: CommandContext): void {
  withCheckpoint(command(all, 'eval', 'the loss of a trained model on a text'))
    .argument('<file>', 'the text; - reads standard input')
    .option(
      '--context <tokens>',
      "that the model sees at a time (default: the model's)",
      positiveNumber,
    )
    .option(
      '--stride <tokens>',
      'from window to window (default: --context, windows side by side)',
      positiveNumber,
    )
    .option('--threads <count>', 'of ONNX Runtime', positiveNumber, availableParallelism())
    .action(async (file: string, options) => {
      const { evaluateFile } = await import('../../model/evaluate-file.ts')
      await evaluateFile({ ...options, file }, { terminal, clock: systemClock })
    })
}
