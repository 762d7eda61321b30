/** `gensyn-node reshard` on the command line. */
import type { Command } from 'commander'
import { systemClock } from '../../../protocols/clock.ts'
import { type CommandContext, command, positiveNumber, wholeNumber } from '../command-options.ts'

export function reshardCommand(all: Command, { terminal }: CommandContext): void {
  command(all, 'reshard', 'continue a run from a checkpoint with another number of stages')
    .requiredOption(
      '--from <store>',
      'store with the checkpoints of the run: a folder, or s3://BUCKET/PREFIX',
    )
    .requiredOption('--stages <count>', 'new number of body stages', positiveNumber)
    .requiredOption('--out <store>', 'store for the new checkpoint')
    .option('--step <step>', 'step of the checkpoint (default: the last complete one)', wholeNumber)
    .option('--run-out <file>', 'file for the new manifest (default: run-STAGES-stages.json)')
    .option('--force', 'replace an existing manifest', false)
    .action(async ({ runOut, ...options }) => {
      const { reshard } = await import('../../checkpoint/reshard.ts')
      await reshard(
        { ...options, runOut: runOut ?? `run-${options.stages}-stages.json` },
        { terminal, clock: systemClock, env: process.env },
      )
    })
}
