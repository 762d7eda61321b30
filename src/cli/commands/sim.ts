/** `gensyn-node sim`: a scenario of the laboratory; without one, a single history. With bench.ts the only place where src names sim. */
import { availableParallelism } from 'node:os'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { InputError } from '../../base/errors.ts'
import {
  type CommandContext,
  command,
  settingsIn,
  wholeNumber,
  withSettings,
} from '../command-options.ts'

/** Settings of one history that differ from the defaults. */
const HISTORY_SETTINGS = { steps: '20' }

/** Options that `--scenario` allows; the scenario holds all other settings. */
const OF_SCENARIOS = new Set(['scenario', 'out', 'cache', 'workers', 'set', 'json'])

export function simCommand(all: Command, { terminal }: CommandContext): void {
  withSettings(
    command(
      all,
      'sim',
      'simulate the node under virtual time: a scenario of failures and strategies, or one history in which a body stage is lost',
    ),
    { defaults: HISTORY_SETTINGS },
  )
    .option('--scenario <name>', 'a bundled scenario (see --list), or a file')
    .option('--list', 'print the bundled scenarios and all settings of a scenario', false)
    .option('--out <folder>', 'scenario: folder for the report (default: sim-NAME)')
    .option('--cache <folder>', 'scenario: folder that keeps finished trials', '.sim-cache')
    .addOption(
      new Option('--workers <count>', 'scenario: number of trials at a time')
        .argParser(wholeNumber)
        .default(availableParallelism(), 'the cores'),
    )
    .option(
      '--set <path=value...>',
      'scenario: new value of a setting, such as `--set run.stages=8 seeds=[1,2,3] targetLoss=2.5`',
      setting,
    )
    .option('--spares <count>', 'history: number of peers without a stage', wholeNumber, 1)
    .option('--no-kill', 'history: kill no peer')
    .option(
      '--kill-stage <stage>',
      'history: stage whose holder is lost (default: the middle one)',
      wholeNumber,
    )
    .option(
      '--kill-step <step>',
      'history: step after which the holder is lost (default: half of all steps)',
      wholeNumber,
    )
    .option('--journal <file>', 'history: file for the journal of all peers')
    .action(async (options, sim: Command) => {
      if (options.list) {
        const { listScenarios } = await import('../../../sim/lab/list.ts')
        listScenarios(terminal)
      } else if (options.scenario !== undefined) {
        const typed = sim.options.find(
          (option) =>
            sim.getOptionValueSource(option.attributeName()) === 'cli' &&
            !OF_SCENARIOS.has(option.attributeName()),
        )
        if (typed !== undefined) {
          throw new InputError(
            `${typed.long} is not for scenarios: say --set run.NAME=VALUE for a setting of the run, and strategies, failures, seeds and budget in the scenario.`,
          )
        }
        const { runScenario } = await import('../../../sim/lab/command.ts')
        await runScenario(options, terminal)
      } else {
        const { simulate } = await import('../../../sim/main.ts')
        const settings = { ...HISTORY_SETTINGS, ...settingsIn(options) }
        await simulate({ ...options, settings }, terminal)
      }
    })
}

/** `path=value`: the value is JSON, or text where it is none. */
function setting(
  text: string,
  before: Record<string, unknown> | undefined,
): Record<string, unknown> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('path=value is needed.')
  const value = text.slice(at + 1)
  let parsed: unknown = value
  try {
    parsed = JSON.parse(value)
  } catch {
    // A word.
  }
  return { ...before, [text.slice(0, at)]: parsed }
}
