/** `gensyn-node init`: writes the manifest of a new run. */
import type { Command } from 'commander'
import {
  type CommandContext,
  command,
  settingsIn,
  withSettings,
  withTokenizer,
} from '../command-options.ts'

export function initCommand(all: Command, { terminal }: CommandContext): void {
  withTokenizer(withSettings(command(all, 'init', 'write the manifest of a new run')))
    .option('--out <file>', 'file for the manifest', 'run.json')
    .option('--force', 'replace an existing manifest', false)
    .option(
      '--secret',
      'draw a secret, without which no peer can connect, into a file beside the manifest',
      false,
    )
    .action(async (options) => {
      const { initRun } = await import('../init.ts')
      const { runId } = await import('../../run/run.ts')
      const { out } = options
      const run = await initRun({ ...options, settings: settingsIn(options) })
      terminal.event({ type: 'initialized', path: out, run: runId(run), stages: run.stages })
      if (options.secret) {
        const { secretPathOf } = await import('../../run/door.ts')
        terminal.line(
          `${secretPathOf(out)}: the secret of the run. Every peer needs this file beside its run.json. Keep it from strangers.`,
        )
      }
      terminal.line(
        `${out}: run ${runId(run).slice(0, 12)}, ${run.stages} body stages and the ends. ` +
          `Start ${run.stages + 1} peers with \`gensyn-node join --stage auto\`, and one more as a spare.`,
      )
    })
}
