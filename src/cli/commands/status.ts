/** `gensyn-node status`: listens to a run without being a member of it. */
import type { Command } from 'commander'
import { systemClock } from '../../../protocols/clock.ts'
import { type CommandContext, command, positiveNumber, withSecret } from '../command-options.ts'

export function statusCommand(all: Command, { terminal, listen }: CommandContext): void {
  withSecret(command(all, 'status', 'listen to a run without being a member of it'))
    .option('--run <file>', 'its manifest', 'run.json')
    .option('--bootstrap <address...>', 'multiaddrs of peers of the run')
    .option('--seconds <seconds>', 'for so long', positiveNumber, 5)
    .option(
      '--data-dir <folder>',
      'of the peers on this machine (default: .gensyn beside the manifest)',
    )
    .action(async (options) => {
      const { status } = await import('../status.ts')
      await status(options, { terminal, clock: systemClock, signal: listen() })
    })
}
