import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { InputError } from '../../../src/base/errors.ts'
import { type Dataset, readDataset, type Stream } from '../../../src/data/dataset.ts'
import { openTokenizerJson } from '../../../src/data/tokenizer-json.ts'
import { GOLDEN, jsonLines, makeDataset, sentences, write } from '../../fixtures/dataset.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const GPT2 = join(GOLDEN, 'tokenizers', 'gpt2.json')

function tokensOf(folder: string, { bytesPerToken }: Dataset, { shards }: Stream): number[] {
  const bytes = Buffer.concat(shards.map(({ file }) => readFileSync(join(folder, file))))
  return Array.from({ length: bytes.length / bytesPerToken }, (_, i) =>
    bytes.readUIntLE(i * bytesPerToken, bytesPerToken),
  )
}

function split(tokens: readonly number[], end: number): number[][] {
  const documents: number[][] = []
  let own: number[] = []
  for (const token of tokens) {
    if (token !== end) own.push(token)
    else {
      documents.push(own)
      own = []
    }
  }
  expect(own).toEqual([])
  return documents
}

const texts = Array.from({ length: 400 }, (_, i) => sentences(i, 20 + ((i * 13) % 60)))

describe.each([
  ['bytes', 'bytes', (text: string) => [...Buffer.from(text)]],
  [
    'a tokenizer.json',
    GPT2,
    (text: string) => openTokenizerJson(readFileSync(GPT2), GPT2).encode(text),
  ],
])('%s', (_, tokenizer, encode) => {
  test('every document is in exactly one stream, in order and with its end token, and dataset.json has digests and counts', async () => {
    const folder = temporaryFolder()
    const path = write(folder, 'texts.jsonl', jsonLines(texts))
    const { out, dataset } = await makeDataset(folder, [path], { tokenizer })
    const [source] = dataset.sources
    const streams = [source!.train, source!.heldOut].map((stream) => {
      const documents = split(tokensOf(out, dataset, stream), dataset.tokenizer.endOfText)
      expect(stream.documents).toBe(documents.length)
      expect(stream.tokens).toBe(documents.flat().length + documents.length)
      stream.shards.forEach(({ file, sha256, tokens }, index) => {
        const bytes = readFileSync(join(out, file))
        expect(createHash('sha256').update(bytes).digest('hex')).toBe(sha256)
        expect(bytes.length).toBe(2 * tokens)
        if (index < stream.shards.length - 1) expect(tokens).toBe(dataset.shardTokens)
      })
      return documents.map((document) => document.join())
    })
    const [train, heldOut] = streams as [string[], string[]]
    const expected = texts.map((text) => encode(text).join())
    const held = new Set(heldOut)
    expect(train).toEqual(expected.filter((document) => !held.has(document)))
    expect(heldOut).toEqual(expected.filter((document) => held.has(document)))
    // 80 of 400 are expected, with a bound of five standard deviations.
    expect(Math.abs(heldOut.length - 80)).toBeLessThan(40)
    expect(source!.train.shards.length).toBeGreaterThan(5)
    const sha256 = createHash('sha256').update(readFileSync(path)).digest('hex')
    expect(source!.files).toEqual([
      { name: 'texts.jsonl', sha256, bytes: readFileSync(path).length },
    ])
    const kept = tokenizer === 'bytes' ? [] : ['tokenizer.json']
    const files = [source!.train, source!.heldOut].flatMap(({ shards }) =>
      shards.map(({ file }) => file),
    )
    expect(readdirSync(out).sort()).toEqual(['dataset.json', ...files, ...kept].sort())
    if (tokenizer !== 'bytes') {
      expect(readFileSync(join(out, 'tokenizer.json')).equals(readFileSync(tokenizer))).toBe(true)
    }
  })
})

test('the same sources give the same bytes, and two equal documents are in the same stream', async () => {
  const lines = jsonLines([...texts.slice(0, 200), ...texts.slice(0, 200)])
  const datasets = await Promise.all(
    [temporaryFolder(), temporaryFolder()].map((folder) =>
      makeDataset(folder, [write(folder, 'texts.jsonl', lines)]),
    ),
  )
  expect(datasets[1]!.sha256).toBe(datasets[0]!.sha256)
  const { out, dataset } = datasets[0]!
  const [train, heldOut] = [dataset.sources[0]!.train, dataset.sources[0]!.heldOut].map((stream) =>
    split(tokensOf(out, dataset, stream), 0).map((document) => document.join()),
  )
  expect(heldOut!.filter((document) => train!.includes(document))).toEqual([])
  expect(heldOut!.length % 2).toBe(0)
})

test('a long text is divided in parts between the streams, and no part is lost', async () => {
  const folder = temporaryFolder()
  const text = sentences('long', 100_000)
  const { out, dataset } = await makeDataset(folder, [write(folder, 'long.txt', text)], {
    shardTokens: 1 << 20,
  })
  const [source] = dataset.sources
  const pieces = [source!.train, source!.heldOut].flatMap((stream) =>
    split(tokensOf(out, dataset, stream), 0).map((bytes) => Buffer.from(bytes).toString()),
  )
  expect(source!.heldOut.documents).toBeGreaterThan(3)
  const places = pieces.map((piece) => ({ piece, at: text.indexOf(piece) }))
  expect(
    places
      .sort((a, b) => a.at - b.at)
      .map(({ piece }) => piece)
      .join(''),
  ).toBe(text)
})

test('weights are shares of the training, and by default shares follow the numbers of tokens', async () => {
  const folder = temporaryFolder()
  const sources = ['a', 'b'].map((name, i) =>
    write(folder, `${name}.jsonl`, jsonLines(texts.slice(100 * i, 100 + 200 * i))),
  )
  const { dataset } = await makeDataset(folder, sources)
  const [a, b] = dataset.sources
  expect(a!.weight / b!.weight).toBeCloseTo(a!.train.tokens / b!.train.tokens)
  const weighted = await makeDataset(folder, sources, { weights: [3, 1], force: true })
  expect(weighted.dataset.sources.map(({ weight }) => weight)).toEqual([0.75, 0.25])
  await expect(makeDataset(folder, sources, { weights: [1], force: true })).rejects.toThrow(
    /--weights has 1 numbers for 2 sources/,
  )
})

test('a token takes four bytes if the vocabulary has more than 65536 tokens', async () => {
  const folder = temporaryFolder()
  const json = JSON.parse(readFileSync(GPT2, 'utf8'))
  json.added_tokens.push({ id: 70_000, content: '<far>', special: true })
  const tokenizer = write(folder, 'tokenizer.json', JSON.stringify(json))
  const lines = jsonLines(texts.slice(0, 50).map((text) => `${text} <far>`))
  const { out, dataset } = await makeDataset(folder, [write(folder, 'a.jsonl', lines)], {
    tokenizer,
  })
  expect(dataset).toMatchObject({ bytesPerToken: 4, tokenizer: { vocabSize: 70_001 } })
  const tokens = tokensOf(out, dataset, dataset.sources[0]!.train)
  expect(tokens.filter((token) => token === 70_000)).toHaveLength(
    dataset.sources[0]!.train.documents,
  )
})

describe('unusable input is refused by name, and no file is left behind', () => {
  const good = jsonLines(texts)
  test.each<[string, string, string | Uint8Array, object, RegExp]>([
    ['an empty file', 'a.txt', '', {}, /a.txt is empty/],
    ['a broken line at the end', 'a.jsonl', `${good}{`, {}, /line 401 is not JSON/],
    ['a wrong encoding', 'a.txt', Buffer.from([0xff, 0xfe]), { tokenizer: GPT2 }, /not UTF-8/],
    ['a broken tokenizer', 'a.jsonl', good, { tokenizer: import.meta.filename }, /is not JSON/],
    [
      'a source without training tokens',
      'a.txt',
      'short',
      { heldOut: 0.999_999 },
      /the whole source is held out/,
    ],
    ['a file without documents', 'a.jsonl', '\n\n', {}, /contains no text/],
  ])('%s', async (_, name, content, options, message) => {
    const folder = temporaryFolder()
    const making = makeDataset(folder, [write(folder, name, content)], options)
    await expect(making).rejects.toThrow(InputError)
    await expect(making).rejects.toThrow(message)
    expect(readdirSync(folder)).toEqual([name])
  })

  test('an existing dataset is replaced only with --force, and any other folder never', async () => {
    const folder = temporaryFolder()
    const path = write(folder, 'texts.jsonl', good)
    const first = await makeDataset(folder, [path])
    await expect(makeDataset(folder, [path])).rejects.toThrow(/dataset exists.*--force/)
    // The temporary folders of a dead process and of a live one.
    mkdirSync(join(folder, 'dataset.999999999.tmp'))
    mkdirSync(join(folder, `dataset.${process.ppid}.tmp`))
    const second = await makeDataset(folder, [path], { force: true, tokenizer: GPT2 })
    expect(second.sha256).not.toBe(first.sha256)
    expect(readDataset(second.out).sha256).toBe(second.sha256)
    const left = ['dataset', `dataset.${process.ppid}.tmp`, 'texts.jsonl']
    expect(readdirSync(folder).sort()).toEqual(left)

    const other = temporaryFolder()
    mkdirSync(join(other, 'dataset'))
    writeFileSync(join(other, 'dataset', 'mine.txt'), 'mine')
    await expect(makeDataset(other, [path], { force: true })).rejects.toThrow(
      /exists, and is not a dataset/,
    )
    expect(readdirSync(join(other, 'dataset'))).toEqual(['mine.txt'])
    await expect(makeDataset(join(other, 'none'), [path])).rejects.toThrow(/none does not exist/)
  })
})

test('a dataset.json that is damaged, has another version or names files elsewhere is refused by name', async () => {
  const folder = temporaryFolder()
  const { out, json } = await makeDataset(folder, [write(folder, 'a.jsonl', jsonLines(texts))])
  const text = Buffer.from(json).toString()
  const cases: [string, RegExp][] = [
    [text.slice(0, 300), /dataset.json is damaged/],
    [text.replace('"version": 1', '"version": 9'), /version/],
    [text.replace('s0-train-000000.bin', '../secret'), /a plain file name/],
  ]
  for (const [content, message] of cases) {
    writeFileSync(join(out, 'dataset.json'), content)
    expect(() => readDataset(out)).toThrow(InputError)
    expect(() => readDataset(out)).toThrow(message)
  }
})
