/** The manifest of a run: defaults, validation, reading, writing, and its id. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { InputError } from '../../../src/base/errors.ts'
import { parseRun, type Run, readRun, runId, stageConfig, writeRun } from '../../../src/run/run.ts'
import { SETTINGS } from '../../../src/run/run-schema.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

/** The settings that have no default. */
const LEAST = {
  format: 'gensyn-run',
  version: 1,
  data: { source: 'file:text.txt', sha256: '0'.repeat(64), bytes: 100_000 },
}

function messageOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(InputError)
    return (error as Error).message
  }
  throw new Error('did not throw')
}

/** The error message for a manifest with this text. */
function refusalOf(text: string): string {
  const path = join(temporaryFolder(), 'run.json')
  writeFileSync(path, text)
  return messageOf(() => readRun(path))
}

test('every setting has a description and a unit, and its default has its type', () => {
  const run = parseRun(LEAST, 'test')
  expect(run.model).toMatchObject({ hiddenSize: 128, layers: 6 })
  for (const { path, type, description, unit, default: byDefault } of SETTINGS) {
    expect(description, path).toMatch(/\.$/)
    expect(unit, path).toBeTypeOf('string')
    const value = path.split('.').reduce<unknown>((inner, key) => (inner as never)[key], run)
    if (byDefault !== undefined) expect(value, path).toEqual(byDefault)
    if (type === 'integer') expect(value, path).toSatisfy(Number.isInteger)
  }
})

test('docs/RUN.md lists every setting; `npx vitest run test/src/run -u` writes the page', async () => {
  const rows = SETTINGS.map(({ path, type, description, unit, default: byDefault }) => {
    const standard = byDefault === undefined ? '' : `\`${JSON.stringify(byDefault)}\``
    return `| \`${path}\` | ${type ?? 'object or null'} | ${unit} | ${standard} | ${description.replaceAll('|', '\\|')} |`
  })
  // The sections after the table are written by hand.
  const written = readFileSync(join(import.meta.dirname, '../../../docs/RUN.md'), 'utf8')
  const page = [
    '# The manifest',
    '',
    '`run.json` is the manifest of a run. The SHA-256 of the manifest is the id of the run. `gensyn-node init` writes the manifest, with options for the usual settings',
    '(`init --help`). Change any other setting in the file before the first peer joins. A scenario of the [simulator](SIMULATOR.md) has the same settings under `run`,',
    'and the settings of `recovery` under a strategy.',
    '',
    '| setting | type | unit | default | is |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    written.slice(written.indexOf('## Skipped steps')),
  ]
  await expect(page.join('\n')).toMatchFileSnapshot('../../../docs/RUN.md')
})

test('a manifest that is written and read again gives the same run', () => {
  const path = join(temporaryFolder(), 'run.json')
  const run = parseRun({ ...LEAST, seed: 7, stages: 3 }, 'test')
  writeRun(path, run, { force: false })
  expect(readRun(path)).toEqual(run)
  expect(stageConfig(readRun(path))).toEqual({
    bodyStages: 3,
    keep: 'none',
    keepDtype: 'float32',
    model: run.model,
    microbatch: run.microbatch,
    optimizer: {
      kind: 'adamw',
      beta1: 0.9,
      beta2: run.optimizer.beta2,
      epsilon: 1e-8,
      weightDecay: 0,
    },
  })
})

test('an existing manifest is replaced only with force, and no temporary file remains', () => {
  const folder = temporaryFolder()
  const path = join(folder, 'run.json')
  const run = parseRun(LEAST, 'test')
  writeFileSync(path, 'precious')
  expect(messageOf(() => writeRun(path, run, { force: false }))).toBe(
    `${path} exists. Choose another --out, or replace it with --force.`,
  )
  expect(readFileSync(path, 'utf8')).toBe('precious')
  writeRun(path, run, { force: true })
  expect(readRun(path)).toEqual(run)
  expect(readdirSync(folder)).toEqual(['run.json'])
  const elsewhere = join(folder, 'none', 'run.json')
  expect(messageOf(() => writeRun(elsewhere, run, { force: true }))).toContain(
    'its folder does not exist',
  )
  expect(existsSync(elsewhere)).toBe(false)
})

test('the run id depends on every value, but not on the order of keys', () => {
  const run = parseRun(LEAST, 'test')
  const reversed = Object.fromEntries(Object.entries(run).reverse()) as Run
  expect(runId(reversed)).toBe(runId(run))
  expect(runId(run)).toMatch(/^[0-9a-f]{64}$/)
  expect(runId({ ...run, seed: 2 })).not.toBe(runId(run))
  const { recovery } = run
  const other = { ...run, recovery: { ...recovery, policy: [...recovery.policy].reverse() } }
  expect(runId(other)).not.toBe(runId(run))
})

test('every truncated manifest is refused with an InputError', () => {
  const path = join(temporaryFolder(), 'run.json')
  const text = JSON.stringify(parseRun(LEAST, 'test'))
  fc.assert(
    fc.property(fc.nat(text.length - 1), (length) => {
      writeFileSync(path, text.slice(0, length))
      return /is not JSON, or only the beginning of it/.test(messageOf(() => readRun(path)))
    }),
  )
})

test('a missing manifest, another file and another version are refused with the remedy', () => {
  expect(messageOf(() => readRun('/nowhere/run.json'))).toBe(
    '/nowhere/run.json does not exist. Write it with `gensyn-node init`, or name it by --run.',
  )
  expect(messageOf(() => readRun(temporaryFolder()))).toContain('cannot be read (EISDIR)')
  expect(refusalOf('[1]')).toContain('its "format" is missing, not "gensyn-run"')
  expect(refusalOf('null')).toContain('is not a run manifest')
  expect(refusalOf(JSON.stringify({ ...LEAST, version: 2 }))).toContain(
    'manifest version 2; this gensyn-node reads version 1',
  )
  expect(refusalOf(' '.repeat(2 ** 20 + 1))).toContain('longer than 1048576 bytes')
})

test.each([
  [{ seed: 1.5 }, 'seed is 1.5, expected int, received number'],
  [{ model: { hiddenSize: 0 } }, 'model.hiddenSize is 0, expected number to be >=1'],
  [{ data: { ...LEAST.data, bytes: undefined } }, 'data.bytes is missing, expected number'],
  [{ data: { ...LEAST.data, source: 'http://x' } }, 'package:NAME, file:PATH and prepared:FOLDER'],
  [{ recovery: { policy: ['luck'] } }, 'recovery.policy.0 is "luck", expected one of '],
  [{ recovery: { policy: ['copy', 'copy'] } }, 'recovery.policy: names a strategy twice'],
  [{ colour: 'red' }, 'the manifest: Unrecognized key: "colour"'],
  [{ model: { depth: 1 } }, 'model: Unrecognized key: "depth"'],
  [{ stages: 4 }, 'model.layers: 6 do not divide evenly among 4 stages; 8 would'],
  [{ model: { heads: 3 } }, 'model.heads: 3 heads split a hidden size of 128'],
  [{ model: { hiddenSize: 12 } }, 'model.heads: 4 heads split a hidden size of 12 into 3 each'],
  [{ model: { keyValueHeads: 3 } }, 'model.keyValueHeads: 3 do not divide 4 query heads'],
])('%j is refused, and the message names the setting', (change, message) => {
  expect(messageOf(() => parseRun({ ...LEAST, ...change }, 'run.json'))).toContain(
    message.startsWith('package') ? message : `run.json: ${message}`,
  )
})
