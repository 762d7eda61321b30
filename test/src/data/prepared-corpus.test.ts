import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { InputError } from '../../../src/base/errors.ts'
import { heldOutMicrobatch, loadCorpus, microbatch } from '../../../src/data/corpus.ts'
import { PreparedCorpus } from '../../../src/data/prepared-corpus.ts'
import { ShardFiles } from '../../../src/data/shard-files.ts'
import type { Run } from '../../../src/run/run.ts'
import {
  GOLDEN,
  jsonLines,
  makeDataset,
  runOnDataset,
  sentences,
  write,
} from '../../fixtures/dataset.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const texts = Array.from({ length: 300 }, (_, i) => sentences(i, 10 + ((i * 17) % 80)))

async function setUp(settings: Record<string, unknown> = {}, options: object = {}) {
  const folder = temporaryFolder()
  const sources = [
    write(folder, 'a.jsonl', jsonLines(texts.slice(0, 200))),
    write(folder, 'b.jsonl', jsonLines(texts.slice(200))),
  ]
  const made = await makeDataset(folder, sources, options)
  const run = runOnDataset(made.sha256, settings)
  const open = () => {
    const files = new ShardFiles(made.out)
    onTestFinished(() => files.close())
    return new PreparedCorpus(run, made.dataset, files)
  }
  return { folder, run, open, runPath: join(folder, 'run.json'), ...made }
}

/** A whole stream as one array, read without the code under test. */
function whole(out: string, shards: readonly { file: string }[]): number[] {
  const bytes = Buffer.concat(shards.map(({ file }) => readFileSync(join(out, file))))
  return Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i))
}

test('an epoch of a source contains every token once, except for a rest at its end, and no padding', async () => {
  const context = 48
  const { run, open, out, dataset } = await setUp(
    { microbatch: { batch: 4, context }, microbatches: 2 },
    { weights: [1, 1] },
  )
  const corpus = open()
  const streams = dataset.sources.map(({ train }) => whole(out, train.shards))
  const places = new Map(
    streams.flatMap((stream, source) =>
      Array.from({ length: Math.floor((stream.length - 1) / context) }, (_, sequence) => {
        const from = sequence * context
        return [stream.slice(from, from + context + 1).join(), { source, from }] as const
      }),
    ),
  )
  const starts = streams.map(() => new Map<number, number>())
  for (let step = 1; step <= 250; step++) {
    for (let index = 0; index < run.microbatches; index++) {
      const { tokens, targets } = corpus.microbatch(step, index)
      for (let row = 0; row < 4; row++) {
        const own = [...tokens.subarray(row * context, (row + 1) * context)]
        const next = [...targets.subarray(row * context, (row + 1) * context)]
        expect(next.slice(0, -1)).toEqual(own.slice(1))
        const { source, from } = places.get([...own, next.at(-1)].join())!
        starts[source]!.set(from, (starts[source]!.get(from) ?? 0) + 1)
      }
    }
  }
  for (const [source, stream] of streams.entries()) {
    const sequences = Math.floor((stream.length - 1) / context)
    // There is no padding, and the rest is shorter than a sequence.
    expect((sequences * context) / stream.length).toBeGreaterThan(0.98)
    // Every epoch contains every sequence, so that counts differ by at most one.
    const times = [...starts[source]!.values()]
    expect(times).toHaveLength(sequences)
    expect(Math.max(...times) - Math.min(...times)).toBeLessThanOrEqual(1)
  }
})

test('every peer gets the same tokens for a microbatch, in any order of requests and after a restart', async () => {
  const { run, open } = await setUp({ microbatches: 3 })
  const alone = open()
  const steps = 8
  const expected = new Map<string, unknown>()
  for (let step = 1; step <= steps; step++) {
    for (let index = 0; index < run.microbatches; index++) {
      expected.set(`${step}/${index}`, alone.microbatch(step, index))
    }
  }
  const asked = fc.record({
    step: fc.integer({ min: 1, max: steps }),
    index: fc.nat(run.microbatches - 1),
    peer: fc.nat(4),
    // A new reader stands for a restarted process, which has no state.
    restarts: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(asked, { minLength: 1, maxLength: 60 }), (questions) => {
      const peers = new Map<number, PreparedCorpus>()
      for (const { step, index, peer, restarts } of questions) {
        if (restarts || !peers.has(peer)) peers.set(peer, open())
        expect(peers.get(peer)!.microbatch(step, index)).toEqual(expected.get(`${step}/${index}`))
      }
    }),
    { numRuns: 30 },
  )
  expect(new Set([...expected.values()].map((tokens) => JSON.stringify(tokens))).size).toBe(24)
})

test('another seed gives another order of sequences, and the same held-out microbatches, which cover their streams', async () => {
  const { run, open, out, dataset, runPath } = await setUp({ evaluation: { microbatches: 4 } })
  const corpus = open()
  const files = new ShardFiles(out)
  onTestFinished(() => files.close())
  const other = new PreparedCorpus({ ...run, seed: 2 }, dataset, files)
  expect(other.microbatch(1, 0)).not.toEqual(corpus.microbatch(1, 0))
  const heldOut = [0, 1, 2, 3].map((index) => corpus.heldOutMicrobatch(index))
  expect([0, 1, 2, 3].map((index) => other.heldOutMicrobatch(index))).toEqual(heldOut)
  const streams = dataset.sources.map(({ heldOut }) => whole(out, heldOut.shards).join())
  for (const { tokens, targets } of heldOut) {
    for (let row = 0; row < 2; row++) {
      const text = [...tokens.subarray(16 * row, 16 * row + 16), targets[16 * row + 15]].join()
      expect(streams.some((stream) => stream.includes(text))).toBe(true)
    }
  }
  expect(streams[0]!.startsWith([...heldOut[0]!.tokens.subarray(0, 16)].join())).toBe(true)
  expect(new Set(heldOut.map(({ tokens }) => tokens.join())).size).toBe(4)
  // The functions that a node calls.
  const loaded = await loadCorpus(run, runPath)
  expect(microbatch(run, loaded, 3, 1)).toEqual(corpus.microbatch(3, 1))
  expect(heldOutMicrobatch(run, loaded, 1)).toEqual(heldOut[1])
})

describe('the corpus refuses by name', () => {
  let made: Awaited<ReturnType<typeof setUp>>
  const load = (run: Run) => loadCorpus(run, made.runPath)
  const others = (settings: Record<string, unknown>) => runOnDataset(made.sha256, settings)

  test('a dataset that does not fit the run', async () => {
    made = await setUp({}, { tokenizer: join(GOLDEN, 'tokenizers', 'gpt2.json') })
    await expect(load(made.run)).rejects.toThrow(/model.vocabSize is 256, but .* has 702 tokens/)
    const fitting = { model: { vocabSize: 702 } }
    await expect(load(others(fitting))).resolves.toBeInstanceOf(PreparedCorpus)
    const long = others({ ...fitting, microbatch: { batch: 1, context: 100_000 } })
    await expect(load(long)).rejects.toThrow(/a\.jsonl has \d+ tokens to train on.* 100001/)
    await expect(
      load({ ...others(fitting), data: { ...made.run.data, sha256: '0'.repeat(64) } }),
    ).rejects.toThrow(/is not the dataset that the run was made for/)
    const bare = await setUp({}, { heldOut: 0 })
    await expect(loadCorpus(bare.run, bare.runPath)).rejects.toThrow(
      /no source with 17 held-out tokens/,
    )
  })

  test('a damaged or missing shard, before a token of it is used', async () => {
    made = await setUp()
    const [shard] = made.open().shardsOf(1, 0)
    const path = join(made.out, shard!.file)
    const bytes = readFileSync(path)
    bytes[bytes.length >> 1]! ^= 1
    writeFileSync(path, bytes)
    const damaged = () => made.open().microbatch(1, 0)
    expect(damaged).toThrow(InputError)
    expect(damaged).toThrow(
      new RegExp(`${shard!.file} is damaged: its SHA-256 is .*${shard!.sha256}`),
    )
    rmSync(path)
    expect(damaged).toThrow(new RegExp(`${shard!.file} is missing`))
  })
})
