/** `gensyn-node demo`: trains with a whole swarm on this machine, kills a holder of a stage, and reports the recovery. */
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { systemClock } from '../../../protocols/clock.ts'
import { RECOVERY_NAMES } from '../../recovery/index.ts'
import {
  type CommandContext,
  command,
  settingsIn,
  wholeNumber,
  withSettings,
} from '../command-options.ts'

/** Enough steps to show a recovery. */
const DEMO_SETTINGS = { steps: '120' }

export function demoCommand(all: Command, { terminal, listen }: CommandContext): void {
  const demo = command(
    all,
    'demo',
    'run a whole swarm on this machine; the holder of one stage is killed, and the stage is rebuilt',
  )
  withSettings(demo, { defaults: DEMO_SETTINGS })
    .option(
      '--spares <count>',
      'peers without a stage (default: one for each killed peer)',
      wholeNumber,
    )
    .option('--no-kill', 'kill no peer')
    .addOption(
      new Option('--recovery <strategy>', 'strategy that is tried first for a lost stage')
        .choices(['auto', ...RECOVERY_NAMES])
        .conflicts('policy')
        .default('checkfree'),
    )
    .option(
      '--kill-stage <stages>',
      'stages whose holders are killed: middle, first, last, ends, or numbers (3,4)',
      'middle',
    )
    .option(
      '--kill-step <step>',
      'step after which the holders are killed (default: half of all steps)',
      wholeNumber,
    )
    .option('--report <file>', 'file for the results', 'demo-report.json')
    .option(
      '--keep <folder>',
      'folder in which the run is kept: manifest, journals and trained weights',
    )
    .action(async ({ report: reportPath, ...options }) => {
      const { demo } = await import('../demo.ts')
      const { failureOf, summaryOf } = await import('../demo-report.ts')
      const report = await demo(
        {
          ...options,
          reportPath,
          recovery: options.policy === undefined ? options.recovery : undefined,
          settings: { ...DEMO_SETTINGS, ...settingsIn(options) },
        },
        { clock: systemClock, line: terminal.line, signal: listen() },
      )
      terminal.event({ type: 'report', path: reportPath, ...report })
      terminal.line('')
      for (const text of summaryOf(report)) terminal.line(text)
      terminal.line(`${'report'.padEnd(14)}${reportPath}`)
      const { keep } = options
      if (keep !== undefined) {
        const run = join(keep, 'run.json')
        terminal.line(`${'kept'.padEnd(14)}${keep}; try \`gensyn-node generate --run ${run}\``)
      }
      const failure = failureOf(report)
      if (failure !== null) throw new Error(failure)
    })
}
