/** Options that several commands share, and checks of typed numbers. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { DOMAIN_LENGTH } from '../../protocols/membership.ts'
import type { Terminal } from '../base/terminal.ts'
import { type InitOptions, type InitSetting, initOptions } from './init.ts'

/** What the program gives to each command. */
export interface CommandContext {
  readonly terminal: Terminal
  /** Takes Ctrl-C, SIGTERM, SIGHUP and a lost parent from now on. The signal aborts at the first of them. */
  readonly listen: () => AbortSignal
}

/** Adds a command with `--json` to the program. */
export function command(all: Command, name: string, description: string): Command {
  return all
    .command(name)
    .description(description)
    .option('--json', 'print one JSON object a line instead of text', false)
}

interface SettingsOptions {
  readonly except?: readonly InitSetting[]
  /** Defaults that differ from those of the manifest. */
  readonly defaults?: InitOptions['settings']
}

/** Adds an option for each setting of the manifest, and `--data`. */
export function withSettings(
  command: Command,
  { except = [], defaults = {} }: SettingsOptions = {},
): Command {
  for (const { setting, flags, description } of initOptions(defaults)) {
    if (!except.includes(setting)) command.option(flags, description)
  }
  return command.option(
    '--data <path>',
    'training data: a text, JSON Lines, Parquet, a folder, a pattern, or a dataset of `prepare` ' +
      '(default: the bundled corpus)',
  )
}

/** Adds the options of commands that turn text into tokens. */
export function withTokenizer(command: Command): Command {
  return withPreparing(
    command.option(
      '--tokenizer <file>',
      "bytes, or Hugging Face's tokenizer.json (default: bytes)",
    ),
  )
}

/** Adds the options of commands that prepare text with a given tokenizer. */
export function withPreparing(command: Command): Command {
  return command
    .option(
      '--end-of-text <token>',
      'token that ends a document (default: from tokenizer_config.json beside the tokenizer, or a well-known token)',
    )
    .option('--field <name>', 'field with the text, in JSON Lines and Parquet (default: text)')
}

/** The options of a command that are settings of the manifest. */
export function settingsIn(options: Record<string, unknown>): Partial<Record<InitSetting, string>> {
  return Object.fromEntries(
    initOptions().flatMap(({ setting }) =>
      options[setting] === undefined ? [] : [[setting, options[setting] as string]],
    ),
  )
}

export function domainLabel(text: string): string {
  if (text.length > DOMAIN_LENGTH) {
    throw new InvalidArgumentError(`at most ${DOMAIN_LENGTH} characters are allowed.`)
  }
  return text
}

export function positiveNumber(text: string): number {
  const value = wholeNumber(text)
  if (value === 0) throw new InvalidArgumentError('a whole number above 0 is needed.')
  return value
}

/** Seconds of a wait; timers cannot wait longer. */
export function seconds(text: string): number {
  const value = positiveNumber(text)
  if (value > 1_000_000) throw new InvalidArgumentError('at most 1000000 seconds are allowed.')
  return value
}

export function wholeNumber(text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('a whole number is needed.')
  }
  return value
}

/** Adds the option of commands that connect to peers of a run. */
export function withSecret(command: Command): Command {
  return command.option(
    '--secret-file <file>',
    'file with the secret of a run that has one (default: beside the manifest, with the ending .secret)',
  )
}

/** Adds the options that say where a command finds a trained model. */
export function withCheckpoint(command: Command): Command {
  return withSecret(command)
    .option(
      '--model <folder>',
      "folder with a model in Hugging Face's layout, in place of a run's saved weights",
    )
    .addOption(
      new Option(
        '--peer [address...]',
        'multiaddrs of peers of a training swarm (default: the peers on this machine), ' +
          'whose weights after one step are taken while training goes on',
      ),
    )
    .option('--run <file>', 'manifest of the run whose peers have saved their weights', 'run.json')
    .option(
      '--data-dir <folder>',
      'folder with the saved weights (default: .gensyn beside the manifest)',
    )
}
