/** `gensyn-node eval` on the command line. */
import { availableParallelism } from 'node:os'
import type { Command } from 'commander'
import { systemClock } from '../../../protocols/clock.ts'
import { type CommandContext, command, positiveNumber, withCheckpoint } from '../command-options.ts'

export function evalCommand(all: Command, { terminal }: CommandContext): void {
  withCheckpoint(command(all, 'eval', 'compute the loss of a trained model on a text'))
    .argument('<file>', 'text file; - reads standard input')
    .option(
      '--context <tokens>',
      "length of a window (default: the model's context)",
      positiveNumber,
    )
    .option(
      '--stride <tokens>',
      'distance between windows (default: --context, so that windows do not overlap)',
      positiveNumber,
    )
    .option('--threads <count>', 'threads of ONNX Runtime', positiveNumber, availableParallelism())
    .action(async (file: string, options) => {
      const { evaluateFile } = await import('../../model/evaluate-file.ts')
      await evaluateFile({ ...options, file }, { terminal, clock: systemClock })
    })
}
