/** `gensyn-node doctor`: checks this machine, and names the remedy of what is missing. */
import type { Command } from 'commander'
import { systemClock } from '../../../protocols/clock.ts'
import { EXIT } from '../../base/errors.ts'
import { type CommandContext, command } from '../command-options.ts'

export function doctorCommand(all: Command, { terminal }: CommandContext): void {
  command(all, 'doctor', 'what this machine can do, and what to mend')
    .option('--listen <address...>', 'multiaddrs to try to listen on', ['/ip4/127.0.0.1/tcp/0'])
    .option('--data-dir <folder>', 'to try to write to', '.gensyn')
    .action(async (options) => {
      const { doctor } = await import('../doctor.ts')
      if (!(await doctor(options, terminal, systemClock))) process.exitCode = EXIT.failed
    })
}
