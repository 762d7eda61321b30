/** Data by the command line: training a tokenizer, preparing texts, starting a run on them, and refusals. */
import { appendFileSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { CliHost, TINY, workFolder } from '../fixtures/cli.ts'
import { jsonLines, sentences, write } from '../fixtures/dataset.ts'

const SMALL = TINY.slice(2)

const host = new CliHost()
afterAll(() => host.stop())

test('tokenizer train, prepare and init work in this order, and join refuses a dataset that was changed afterwards', async () => {
  const folder = workFolder()
  const texts = Array.from({ length: 500 }, (_, i) => sentences(i, 80))
  write(folder, 'texts.jsonl', jsonLines(texts))
  const trained = await host.run(
    ['tokenizer', 'train', 'texts.jsonl', '--vocab-size', '300'],
    folder,
  )
  expect(trained).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/tokenizer.json: 300 tokens/),
  })
  const sources = ['texts.jsonl', 'text.txt', '--weights', '3,1', '--held-out', '0.2']
  const prepared = await host.run(
    ['prepare', ...sources, '--tokenizer', 'tokenizer.json', '--json'],
    folder,
  )
  expect(prepared.code).toBe(0)
  const events = prepared.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(events.at(-1)).toMatchObject({ type: 'prepared', path: 'dataset', vocabSize: 300 })
  const made = await host.run(['init', '--stages', '2', ...SMALL, '--data', 'dataset'], folder)
  expect(made).toMatchObject({ code: 0, stderr: '' })
  const run = JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8'))
  expect(run).toMatchObject({ data: { source: 'prepared:dataset' }, model: { vocabSize: 300 } })

  appendFileSync(join(folder, 'dataset', 'dataset.json'), '\n')
  const joined = await host.run(['join', '--no-mdns', '--provider', 'cpu'], folder)
  expect(joined.stderr).toMatch(/dataset is not the dataset that the run was made for/)
  expect(joined.code).toBe(2)
})

test.each<[string, string | Uint8Array, string[], RegExp]>([
  ['bad.jsonl', '{"text": "a"}\n{', [], /bad.jsonl, line 2 is not JSON/],
  ['bad.parquet', 'PAR1 nothing PAR1', [], /bad.parquet is not a Parquet file, or is damaged/],
  ['bad.txt', Buffer.from([0xff]), ['--tokenizer', 'run-me.json'], /run-me.json does not exist/],
  ['texts', '', ['--data', 'none/*.txt'], /none\/\*\.txt names no/],
])('init refuses %s, and writes no file', async (name, content, options, says) => {
  const folder = workFolder()
  write(folder, name, content)
  const { code, stderr } = await host.run(['init', ...SMALL, '--data', name, ...options], folder)
  expect(stderr).toMatch(says)
  expect(stderr).not.toMatch(/^\s+at /m)
  expect(code).toBe(2)
  expect(readdirSync(folder).sort()).toEqual([name, 'text.txt'].sort())
})
