/** `gensyn-node doctor`: checks this machine, and names the remedy of what is missing. */
import type { Command } from 'commander'
import { systemClock } from '../../../protocols/clock.ts'
import { EXIT } from '../../base/errors.ts'
import { type CommandContext, command } from '../command-options.ts'

export function doctorCommand(all: Command, { terminal }: CommandContext): void {
  command(all, 'doctor', 'check this machine, and name the remedy for each fault')
    .option('--listen <address...>', 'multiaddrs to test', ['/ip4/127.0.0.1/tcp/0'])
    .option('--data-dir <folder>', 'folder to test', '.gensyn')
    .action(async (options) => {
      const { doctor } = await import('../doctor.ts')
      if (!(await doctor(options, terminal, systemClock))) process.exitCode = EXIT.failed
    })
}
