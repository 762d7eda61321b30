/** `gensyn-node init`: the manifest of a new run, from the user's options and from defaults that fit them. */
import { basename, dirname, resolve } from 'node:path'
import { InputError } from '../base/errors.ts'
import { type ChosenData, chooseData, datasetBeside, type Preparing } from '../data/choose.ts'
import { digestOfSecret, newSecret, secretPathOf, writeSecret } from '../run/door.ts'
import { checkFree, parseRun, type Run, writeRun } from '../run/run.ts'
import { SETTINGS, type SettingInfo, VERSION } from '../run/run-schema.ts'

/** Settings that have an option of their own, each with its path in the manifest. */
const OPTIONS = {
  name: 'name',
  seed: 'seed',
  steps: 'steps',
  stages: 'stages',
  vocab: 'model.vocabSize',
  layers: 'model.layers',
  hidden: 'model.hiddenSize',
  intermediate: 'model.intermediateSize',
  heads: 'model.heads',
  kvHeads: 'model.keyValueHeads',
  context: 'microbatch.context',
  batch: 'microbatch.batch',
  microbatches: 'microbatches',
  wire: 'wire',
  learningRate: 'optimizer.learningRate',
  warmupSteps: 'optimizer.warmupSteps',
  schedule: 'optimizer.schedule',
  clipNorm: 'optimizer.clipNorm',
  clip: 'optimizer.clip',
  heldOut: 'data.heldOut',
  evaluateEvery: 'evaluation.everySteps',
  majority: 'majority',
  policy: 'recovery.policy',
} as const

/** Name of a setting that has an option. */
export type InitSetting = keyof typeof OPTIONS

/** Help texts of the defaults that depend on other settings. */
const FITTED: Partial<Record<InitSetting, string>> = {
  vocab: 'that of the tokenizer, 256 for bytes',
  layers: 'the multiple of --stages nearest to 6',
  intermediate: '8/3 of --hidden, rounded up to a multiple of 8',
  kvHeads: 'as --heads',
}

export interface InitOptions {
  /** Path of the manifest to write. */
  readonly out: string
  /** Training data: a text, JSON Lines, Parquet, a folder, a pattern or a dataset; undefined for the bundled corpus. */
  readonly data?: string | undefined
  /** `bytes`, or the path of a tokenizer.json; undefined for `bytes`. */
  readonly tokenizer?: string | undefined
  /** Token that ends a document; undefined for the token in the tokenizer's configuration. */
  readonly endOfText?: string | undefined
  /** Field of JSON Lines, or column of Parquet, with the text. */
  readonly field?: string | undefined
  /** True to replace an existing manifest. */
  readonly force: boolean
  /** True to draw a secret for the run. */
  readonly secret?: boolean | undefined
  /** Settings as the user typed them. */
  readonly settings: Partial<Record<InitSetting, string>>
}

/**
 * Makes a new run without writing its manifest. The data must not need preparation.
 * @param folder folder of the manifest, to which a path of the data is relative
 * @param fixed values of settings without an option, by their path in the manifest
 * @throws InputError for an invalid setting or unusable data
 */
export async function newRun(
  typed: InitOptions['settings'],
  data: string | undefined,
  folder: string,
  fixed: Readonly<Record<string, unknown>> = {},
): Promise<Run> {
  return runOn(await chooseData(data, folder, undefined), typed, fixed)
}

/**
 * Writes the manifest of a new run. If the data has to be prepared, it also writes the dataset.
 * @param fixed values of settings without an option, by their path in the manifest
 * @throws InputError for an invalid setting, unusable data, or a path that cannot be written; then nothing is written
 */
export async function initRun(
  options: InitOptions,
  fixed: Readonly<Record<string, unknown>> = {},
): Promise<Run> {
  const { out, data, force, settings, tokenizer, endOfText, field } = options
  const secret = options.secret ? newSecret() : null
  const secretPath = secretPathOf(out)
  if (!force) checkFree(out)
  if (!force && secret !== null) checkFree(secretPath)
  const folder = dirname(resolve(out))
  const preparing: Preparing = {
    out: datasetBeside(folder, basename(out)),
    force,
    tokenizer,
    endOfText,
    field,
    heldOut: heldOutOf(settings),
  }
  const chosen = await chooseData(data, folder, preparing)
  try {
    const guarded = secret === null ? fixed : { ...fixed, secret: digestOfSecret(secret) }
    const run = runOn(chosen, settings, guarded)
    chosen.keep()
    if (secret !== null) writeSecret(secretPath, secret, { force })
    writeRun(out, run, { force })
    return run
  } finally {
    chosen.discard()
  }
}

/** Held-out share for the preparation of data. It is checked here, since the manifest is checked after the preparation. */
function heldOutOf({ heldOut }: InitOptions['settings']): number {
  const info = infoOf(OPTIONS.heldOut)
  const share = heldOut === undefined ? info.default : parsed(heldOut, info)
  if (typeof share === 'number' && share > 0 && share < 1) return share
  throw new InputError(`--held-out is ${JSON.stringify(share)}: it must be above 0 and below 1.`)
}

function runOn(
  chosen: ChosenData,
  typed: InitOptions['settings'],
  fixed: Readonly<Record<string, unknown>>,
): Run {
  const { source, sha256, bytes, vocabSize, heldOut } = chosen
  const values: Record<string, unknown> = {
    format: 'gensyn-run',
    version: VERSION,
    'data.source': source,
    'data.sha256': sha256,
    'data.bytes': bytes,
  }
  for (const [name, path] of entries()) {
    const value = typed[name]
    if (value !== undefined) values[path] = parsed(value, infoOf(path))
  }
  if (heldOut !== undefined) {
    const asked = values['data.heldOut'] ?? heldOut
    if (asked !== heldOut) {
      throw new InputError(
        `--held-out is ${asked}, but ${source} was prepared with ${heldOut}: leave it out, or prepare again.`,
      )
    }
    values['data.heldOut'] = heldOut
  }
  const byDefault = { ...fitted(values), 'model.vocabSize': Math.max(256, vocabSize) }
  const run = parseRun(nested({ ...byDefault, ...values, ...fixed }), 'init', optionOf)
  chosen.check(run)
  return run
}

/**
 * Options of the command line, for its parser and its help.
 * @param defaults defaults of a command that differ from the manifest's
 */
export function initOptions(
  defaults: InitOptions['settings'] = {},
): { setting: InitSetting; flags: string; description: string }[] {
  return entries().map(([setting, path]) => {
    const { unit, description, default: byDefault } = infoOf(path)
    const fit = defaults[setting] ?? FITTED[setting] ?? String(byDefault)
    return {
      setting,
      flags: `${flagOf(setting)} <${unit || 'value'}>`,
      description: `${description.replace(/\.$/, '')} (default: ${fit})`,
    }
  })
}

/** Defaults that depend on other settings. The schema refuses invalid values later. */
function fitted(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const count = (path: string) => {
    const value = values[path] ?? infoOf(path).default
    return typeof value === 'number' && value >= 1 ? value : 1
  }
  const stages = count('stages')
  return {
    'model.layers': Math.max(1, Math.round(6 / stages)) * stages,
    'model.intermediateSize': Math.ceil(count('model.hiddenSize') / 3) * 8,
    'model.keyValueHeads': count('model.heads'),
  }
}

function parsed(text: string, { type }: SettingInfo): unknown {
  switch (type) {
    case 'string':
      return text
    case 'array':
      return text.split(',')
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text
    case 'integer':
    case 'number': {
      const value = text.trim() === '' ? Number.NaN : Number(text)
      return Number.isNaN(value) ? text : value
    }
  }
}

/** `{'model.layers': 6}` as `{model: {layers: 6}}`. */
function nested(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const result: Record<string, Record<string, unknown>> & Record<string, unknown> = {}
  for (const [path, value] of Object.entries(values)) {
    const [group, name] = path.split('.') as [string, string?]
    if (name === undefined) result[group] = value as never
    else {
      result[group] ??= {}
      result[group][name] = value
    }
  }
  return result
}

function entries() {
  return Object.entries(OPTIONS) as [InitSetting, string][]
}

function infoOf(path: string): SettingInfo {
  return SETTINGS.find((info) => info.path === path)!
}

function flagOf(setting: InitSetting): string {
  return `--${setting.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

/** Name of a setting in a message: its option, or its path if it has none. An element of a list has the list's name. */
function optionOf(path: string): string {
  const list = path.replace(/\.\d+$/, '')
  const found = entries().find(([, own]) => own === list)
  return found === undefined ? path : flagOf(found[0])
}
