/** The manifest of a run, run.json: every setting that decides what is trained. The run's id is the manifest's digest. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { sha256 } from '../../protocols/weights.ts'
import type { StageConfig } from '../../stages/model.ts'
import { createFile, type FileOptions, replaceFile } from '../base/atomic-file.ts'
import { InputError, systemCode } from '../base/errors.ts'
import { rowsOf } from '../recovery/index.ts'
import { type Run, runSchema, VERSION } from './run-schema.ts'

/** Largest size of a manifest. A manifest is about a page of text, so that a longer file is not a manifest. */
const MAX_MANIFEST_BYTES = 1 << 20

/**
 * Validates a manifest and fills in the defaults.
 * @param where first words of an error message, such as the path of the file
 * @param nameOf gives the name of a setting in an error message, from its path, such as `model.layers`
 * @throws InputError with a line for each invalid setting: its name, the value found, and the values allowed
 */
export function parseRun(
  value: unknown,
  where: string,
  nameOf: (path: string) => string = (path) => path,
): Run {
  const result = runSchema.safeParse(value)
  if (result.success) return result.data
  const lines = result.error.issues.map(({ code, path, message }) => {
    const name = path.length === 0 ? 'the manifest' : nameOf(path.join('.'))
    if (code === 'custom') return `${name}: ${message}`
    // Zod puts the kind of the mistake first, as in "Too small: expected ...". The rest is enough.
    const allowed = message.replace(/^[^:]+: (?=expected)/, '')
    if (code === 'unrecognized_keys') return `${name}: ${allowed}`
    return `${name} is ${shown(valueAt(value, path))}, ${allowed}`
  })
  throw new InputError(`${where}: ${lines.join('\n  ')}`)
}

/**
 * The manifest of the same run with another number of body stages. It has another run id. Strategies that cannot work
 * with this number of stages are left out of its policy.
 * @param stages number of body stages
 * @param where first words of an error message
 * @throws InputError if the layers do not divide evenly among the stages, or no strategy is left
 */
export function withStages(run: Run, stages: number, where: string): Run {
  const { recovery } = run
  const rows = rowsOf(recovery.policy)
  const fit = rows.filter(({ refusal }) => (refusal?.(recovery, stages) ?? null) === null)
  // If no strategy is left, `parseRun` refuses the old policy and gives the reason.
  const policy = (fit.length > 0 ? fit : rows).map(({ name }) => name)
  return parseRun({ ...run, stages, recovery: { ...recovery, policy } }, where)
}

/**
 * Largest number of body stages that is smaller than the run's, divides its layers, and does not exceed `holders`.
 * Null if there is none.
 */
export function fewerStages({ stages, model }: Run, holders: number): number | null {
  for (let fewer = Math.min(holders, stages - 1); fewer > 0; fewer--) {
    if (model.layers % fewer === 0) return fewer
  }
  return null
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  )
}

function shown(value: unknown): string {
  if (value === undefined) return 'missing'
  const text = JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

/**
 * Reads and validates a manifest.
 * @throws InputError if the file does not exist, or is not a complete manifest of this version
 */
export function readRun(path: string): Run {
  const value = readJson(path)
  const { format, version } = (value ?? {}) as { format?: unknown; version?: unknown }
  if (format !== 'gensyn-run') {
    throw new InputError(
      `${path} is not a run manifest: its "format" is ${shown(format)}, not "gensyn-run". ` +
        'Write one with `gensyn-node init`.',
    )
  }
  if (version !== VERSION) {
    throw new InputError(
      `${path} has manifest version ${shown(version)}; this gensyn-node reads version ${VERSION}. ` +
        'Use the gensyn-node that wrote it, or write a new one with `gensyn-node init --force`.',
    )
  }
  return parseRun(value, path)
}

function readJson(path: string): unknown {
  let text: string
  try {
    if (statSync(path).size > MAX_MANIFEST_BYTES) {
      throw new InputError(
        `${path} is longer than ${MAX_MANIFEST_BYTES} bytes: it is not a run manifest.`,
      )
    }
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof InputError) throw error
    const what =
      systemCode(error) === 'ENOENT' ? 'does not exist' : `cannot be read (${systemCode(error)})`
    throw new InputError(
      `${path} ${what}. Write it with \`gensyn-node init\`, or name it by --run.`,
    )
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    const { message } = error as SyntaxError
    throw new InputError(
      `${path} is not JSON, or only the beginning of it (${message}). ` +
        'Copy it again, or write a new one with `gensyn-node init --force`.',
    )
  }
}

/** Checks that a new manifest can be written to `path`. @throws InputError if the file exists */
export function checkFree(path: string): void {
  if (existsSync(path)) throw taken(path)
}

function taken(path: string): InputError {
  return new InputError(`${path} exists. Choose another --out, or replace it with --force.`)
}

/**
 * Writes a manifest.
 * @throws InputError if the file exists and `force` is not set, or the file cannot be written
 */
export function writeRun(path: string, run: Run, { force }: { force: boolean }): void {
  writeOut(path, `${JSON.stringify(run, null, 2)}\n`, { force })
}

/** Writes a file of a new run. @throws InputError as `writeRun` does */
export function writeOut(
  path: string,
  text: string,
  { force, ...options }: FileOptions & { force: boolean },
): void {
  try {
    if (force) replaceFile(path, text, options)
    else if (!createFile(path, text, options)) throw taken(path)
  } catch (error) {
    const code = systemCode(error)
    if (error instanceof InputError || code === undefined) throw error
    const what = code === 'ENOENT' ? 'its folder does not exist' : code
    throw new InputError(`${path} cannot be written: ${what}. Choose another --out.`)
  }
}

/** Id of a run: the SHA-256 of its manifest, in hex. It does not depend on white space or on the order of keys. */
export function runId(run: Run): string {
  return sha256(canonical(run))
}

/** JSON without white space, with sorted keys. */
export function canonical(value: object): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

/** Most microbatches that one driver has under way: enough that no stage waits for the next one. */
export function microbatchesInFlight({ microbatches, stages }: Run): number {
  return Math.min(microbatches, stages + 2)
}

/** Configuration of the run's stages. */
export function stageConfig({
  model,
  microbatch,
  optimizer,
  stages,
  keep,
  keepDtype,
}: Run): StageConfig {
  const { kind, beta1, beta2, epsilon, weightDecay } = optimizer
  return {
    model,
    microbatch,
    optimizer: { kind, beta1, beta2, epsilon, weightDecay },
    bodyStages: stages,
    keep,
    keepDtype,
  }
}

export type { Run } from './run-schema.ts'
