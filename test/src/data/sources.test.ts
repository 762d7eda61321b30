import { readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InputError } from '../../../src/base/errors.ts'
import { PART, partsOf } from '../../../src/data/cut.ts'
import { fileDigest, findSource, isPlainText, readDocuments } from '../../../src/data/sources.ts'
import { digestOf } from '../../../src/data/tokenizer.ts'
import { GOLDEN, jsonLines, sentences, write } from '../../fixtures/dataset.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

/** The documents of a file, joined from their parts. */
async function documentsOf(path: string, options: { field?: string; bytes?: boolean } = {}) {
  const documents: string[] = []
  let open = false
  const digest = fileDigest()
  const reading = { field: 'text', bytes: false, onChunk: digest.add, ...options }
  for await (const { data, continues, last } of readDocuments(path, reading)) {
    expect(continues).toBe(open)
    const text = typeof data === 'string' ? data : Buffer.from(data).toString('latin1')
    documents.push(open ? documents.pop()! + text : text)
    open = !last
  }
  expect(open).toBe(false)
  expect(digest.hex()).toBe(digestOf(readFileSync(path)))
  return documents
}

/** The parts of a file, in their order. */
async function partsOfFile(path: string, bytes = false) {
  const parts: (string | Uint8Array)[] = []
  const options = { field: 'text', bytes, onChunk: () => {} }
  for await (const { data } of readDocuments(path, options)) parts.push(data)
  return parts
}

describe('text', () => {
  test('is one document, with the same parts from a file and from memory', async () => {
    const folder = temporaryFolder()
    for (const text of [
      sentences('long', 150_000),
      sentences('short', 10),
      '学习'.repeat(200_000),
      'ab\n'.repeat(150_000),
      'x'.repeat(8 * PART + 1),
      '👍'.repeat(70_000),
    ]) {
      const path = write(folder, 'text.txt', text)
      expect(await documentsOf(path)).toEqual([text])
      const parts = await partsOfFile(path)
      expect(parts).toEqual([...partsOf(text)].map(({ data }) => data))
      for (const part of parts) expect((part as string).isWellFormed()).toBe(true)
    }
  })

  test('is read as bytes in any encoding, and is cut before spaces', async () => {
    const bytes = Buffer.from(sentences('bytes', 100_000), 'utf16le')
    const path = write(temporaryFolder(), 'utf16', bytes)
    const parts = await partsOfFile(path, true)
    expect(Buffer.concat(parts as Uint8Array[]).equals(bytes)).toBe(true)
    expect(parts.length).toBeGreaterThan(50)
    for (const part of parts.slice(1)) expect(part[0]).toBe(0x20)
  })

  test('that is not UTF-8 is refused by name, for an error at any position', async () => {
    const folder = temporaryFolder()
    const wrong = Buffer.concat([Buffer.from(sentences('utf8', 100_000)), Buffer.from([0xff])])
    const cut = Buffer.from('gut é').subarray(0, -1)
    for (const content of [wrong, cut]) {
      const reading = documentsOf(write(folder, 'wrong.txt', content))
      await expect(reading).rejects.toThrow(InputError)
      await expect(reading).rejects.toThrow(/wrong.txt is not UTF-8.*the tokenizer `bytes`/)
    }
  })
})

test('the parts joined are the document, and no part is long, for any positions of spaces', () => {
  const word = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.constantFrom(' ', '\n'))
  const text = fc
    .tuple(fc.array(word, { minLength: 1, maxLength: 50 }), fc.integer({ min: 1, max: 3000 }))
    .map(([words, times]) => words.join(' ').repeat(times).slice(0, 300_000).toWellFormed())
  fc.assert(
    fc.property(text, (text) => {
      const parts = [...partsOf(text)].map(({ data }) => data as string)
      expect(parts.join('')).toBe(text)
      for (const part of parts) {
        expect(part.isWellFormed()).toBe(true)
        expect(part.length).toBeLessThanOrEqual(8 * PART)
      }
    }),
    { numRuns: 50 },
  )
})

describe('JSON Lines', () => {
  test('each line is a document, with its text in the named field, and empty lines are skipped', async () => {
    const folder = temporaryFolder()
    const texts = Array.from({ length: 3000 }, (_, i) => sentences(i, (i * 7) % 90))
    expect(await documentsOf(write(folder, 'a.jsonl', jsonLines(texts)))).toEqual(texts)
    const other = '{"id":1,"body":"one\\u00e9"}\r\n\n"two"\n{"body":"\\ud800!"}'
    const path = write(folder, 'b.ndjson', other)
    expect(await documentsOf(path, { field: 'body' })).toEqual(['oneé', 'two', '\ufffd!'])
  })

  test.each([
    ['no JSON', '{"text":"a"}\n{"text":', /line 2 is not JSON/],
    [
      'another field',
      '{"title":"a","body":"b"}\n',
      /line 1 has no text in the field text; it has title, body/,
    ],
    ['no text', '{"text":7}\n', /line 1 has no text in the field text/],
    ['not UTF-8', Buffer.from([0x22, 0xff, 0x22]), /not UTF-8/],
  ])('%s is refused, and the message names the line', async (_, content, message) => {
    const reading = documentsOf(write(temporaryFolder(), 'a.jsonl', content))
    await expect(reading).rejects.toThrow(InputError)
    await expect(reading).rejects.toThrow(message)
  })
})

describe('Parquet, as Apache Arrow writes it', () => {
  const expected = Array.from(
    { length: 300 },
    (_, i) =>
      `Document ${i}: ${'pipeline stage of the swarm learns. '.repeat((i % 7) + 1)}ünïcödé 日本語 👍`,
  ).filter((_, i) => i !== 10 && i !== 11)

  test.each(['zstd', 'snappy', 'gzip', 'brotli', 'lz4'])(
    'is read with the codec %s',
    async (codec) => {
      expect(await documentsOf(join(GOLDEN, 'parquet', `${codec}.parquet`))).toEqual(expected)
    },
  )

  test('a damaged file, another file, a missing column and a column without text are refused by name', async () => {
    const folder = temporaryFolder()
    const whole = readFileSync(join(GOLDEN, 'parquet', 'zstd.parquet'))
    const cases: [Uint8Array, string, RegExp][] = [
      [whole.subarray(0, 3000), 'text', /not a Parquet file, or is damaged/],
      [whole.subarray(100), 'text', /not a Parquet file, or is damaged/],
      [Buffer.from('text'), 'text', /not a Parquet file, or is damaged/],
      [
        Buffer.concat([whole.subarray(0, 200), Buffer.alloc(200), whole.subarray(400)]),
        'text',
        /damaged/,
      ],
      [whole, 'body', /has no column body; it has id, text/],
      [whole, 'id', /row 0: the column id contains no text/],
    ]
    for (const [content, field, message] of cases) {
      const reading = documentsOf(write(folder, 'a.parquet', content), { field })
      await expect(reading).rejects.toThrow(InputError)
      await expect(reading).rejects.toThrow(message)
      await expect(reading).rejects.toThrow(/a\.parquet/)
    }
  })
})

describe('findSource', () => {
  test('a folder gives its readable files, and a pattern the matching files, in the order of their names', () => {
    const folder = temporaryFolder()
    for (const name of ['b.txt', 'a/z.md', 'a/y.jsonl', 'c.exe', 'a.txt']) write(folder, name, 'x')
    write(folder, 'empty.txt', '')
    const namesOf = (pattern: string) => findSource(pattern).files.map(({ name }) => name)
    symlinkSync(join(folder, 'c.exe'), join(folder, 'link.txt'))
    symlinkSync(join(folder, 'nowhere'), join(folder, 'nowhere.txt'))
    expect(namesOf(folder)).toEqual(['a.txt', 'a/y.jsonl', 'a/z.md', 'b.txt', 'link.txt'])
    rmSync(join(folder, 'link.txt'))
    rmSync(join(folder, 'nowhere.txt'))
    expect(findSource(join(folder, '*.txt')).files.map(({ path }) => path)).toEqual([
      join(folder, 'a.txt'),
      join(folder, 'b.txt'),
    ])
    expect(namesOf(join(folder, 'c.exe'))).toEqual(['c.exe'])
    expect(isPlainText(join(folder, 'c.exe'))).toBe(true)
    expect(isPlainText(join(folder, 'a'))).toBe(false)
  })

  test('a pattern without a file is refused by name', () => {
    const folder = temporaryFolder()
    const empty = write(folder, 'empty.txt', '')
    expect(() => findSource(join(folder, 'none.txt'))).toThrow(/none.txt does not exist.*--data/)
    expect(() => findSource(empty)).toThrow(/empty.txt is empty/)
    expect(() => findSource(folder)).toThrow(/empty/)
    expect(() => findSource(join(folder, '*.md'))).toThrow(/\*\.md names no .*pattern/)
  })
})
