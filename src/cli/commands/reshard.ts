/** `gensyn-node reshard`, as it is asked for. */
import type { Command } from 'commander'
import { systemClock } from '../../../protocols/clock.ts'
import { type CommandContext, command, positiveNumber, wholeNumber } from '../command-options.ts'

export function reshardCommand(all: Command, { terminal }: CommandContext): void {
  command(all, 'reshard', 'let a run go on with another number of stages, from a checkpoint')
    .requiredOption('--from <store>', 'where its checkpoints lie: a folder, or s3://BUCKET/PREFIX')
    .requiredOption('--stages <count>', 'body stages from now on', positiveNumber)
    .requiredOption('--out <store>', 'where the checkpoint for them goes')
    .option('--step <step>', 'which checkpoint (default: the last complete one)', wholeNumber)
    .option('--run-out <file>', 'the manifest for them (default: run-STAGES-stages.json)')
    .option('--force', 'replace a manifest that is there already', false)
    .action(async ({ runOut, ...options }) => {
      const { reshard } = await import('../../checkpoint/reshard.ts')
      await reshard(
        { ...options, runOut: runOut ?? `run-${options.stages}-stages.json` },
        { terminal, clock: systemClock, env: process.env },
      )
    })
}
