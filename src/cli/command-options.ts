/** What the commands of the command line have in common: `--json`, the settings of a run, numbers as they are typed. */
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

export function command(all: Command, name: string, description: string): Command {
  return all
    .command(name)
    .description(description)
    .option('--json', 'print one JSON object a line instead of text', false)
}

interface SettingsOptions {
  readonly except?: readonly InitSetting[]
  /** Of a command that has others than a manifest. */
  readonly defaults?: InitOptions['settings']
}

export function withSettings(
  command: Command,
  { except = [], defaults = {} }: SettingsOptions = {},
): Command {
  for (const { setting, flags, description } of initOptions(defaults)) {
    if (!except.includes(setting)) command.option(flags, description)
  }
  return command.option(
    '--data <path>',
    'what to train on: a text, JSON Lines, Parquet, a folder, a pattern, or a dataset of `prepare` ' +
      '(default: the bundled corpus)',
  )
}

/** How text becomes tokens, for the commands that prepare it. */
export function withTokenizer(command: Command): Command {
  return withPreparing(
    command.option(
      '--tokenizer <file>',
      'bytes, or a tokenizer.json of Hugging Face (default: bytes)',
    ),
  )
}

/** What else it takes to prepare text, for commands whose tokenizer is known. */
export function withPreparing(command: Command): Command {
  return command
    .option(
      '--end-of-text <token>',
      'what ends a document (default: what the tokenizer_config.json beside it says, or a token known for it)',
    )
    .option('--field <name>', 'of JSON Lines and Parquet: where the text is (default: text)')
}

/** Of all options of a command, those that are settings of the run. */
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

/** A wait that a timer can hold. */
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

/** Where a command takes a trained model from. */
export function withCheckpoint(command: Command): Command {
  return command
    .option('--model <folder>', "a model in Hugging Face's layout, in place of what a run has left")
    .addOption(
      new Option(
        '--peer [address...]',
        'a swarm that trains, by multiaddrs of its peers (default: those on this machine): as it is after one step, ' +
          'while it goes on',
      ),
    )
    .option(
      '--run <file>',
      'the manifest of the run whose peers have left their weights',
      'run.json',
    )
    .option(
      '--data-dir <folder>',
      'where they have left them (default: .gensyn beside the manifest)',
    )
}
