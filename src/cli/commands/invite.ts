/** `gensyn-node invite`: prints the line with which others join a run. */
import type { Command } from 'commander'
import { type CommandContext, command, withSecret } from '../command-options.ts'

export function inviteCommand(all: Command, { terminal }: CommandContext): void {
  withSecret(command(all, 'invite', 'print one line with which another machine joins the run'))
    .option('--run <file>', 'its manifest', 'run.json')
    .option(
      '--address <address...>',
      'multiaddrs at which the other machine reaches peers of the run (default: those of the peers on this machine)',
    )
    .option(
      '--data-dir <folder>',
      'of the peers on this machine (default: .gensyn beside the manifest)',
    )
    .action(async (options) => {
      const { invite } = await import('../invite.ts')
      invite(options, terminal)
    })
}
