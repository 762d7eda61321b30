/** Peers without the dataset's folder fetch shards from peers that have them. */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { VirtualNetwork } from '../../../sim/world/network.ts'
import { World } from '../../../sim/world/world.ts'
import { InputError } from '../../../src/base/errors.ts'
import { createJournal } from '../../../src/base/journal.ts'
import { loadCorpus, microbatch } from '../../../src/data/corpus.ts'
import { openRunData, type RunData, type RunDataOptions } from '../../../src/data/run-data.ts'
import { digestOf } from '../../../src/data/tokenizer.ts'
import type { BatchSource } from '../../../src/run/batch-source.ts'
import { jsonLines, makeDataset, runOnDataset, sentences, write } from '../../fixtures/dataset.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const texts = Array.from({ length: 300 }, (_, i) => sentences(i, 40))

async function setUp(settings: Record<string, unknown> = {}) {
  const folder = temporaryFolder()
  const made = await makeDataset(folder, [write(folder, 'a.jsonl', jsonLines(texts))])
  const run = runOnDataset(made.sha256, settings)
  const world = new World({ seed: 1 })
  const links = () => ({ latencyMs: 5, bytesPerMs: 10_000 })
  const network = new VirtualNetwork({ world, links })
  const waitFor = <T>(work: Promise<T> | T): Promise<T> =>
    world.run(Promise.resolve(work), { waitingFor: 'the test to end' })
  /** A peer in its own folder, or in the folder with the dataset. */
  const join_ = (name: string, options: { own?: boolean } & Partial<RunDataOptions> = {}) => {
    const { own = true, ...others } = options
    const place = own ? temporaryFolder() : folder
    const peer = network.join(name)
    for (const other of ['owner', 'first']) peer.learn(other, [`sim://${other}`])
    const data: RunData = openRunData({
      run,
      runPath: join(place, 'run.json'),
      runId: 'r',
      network: peer,
      journal: createJournal(name, () => world.clock.now(), []),
      cacheFolder: join(place, `cache-${name}`),
      ...others,
    })
    onTestFinished(() => data.close())
    const cached = () => readdirSync(join(place, `cache-${name}`))
    return { data, cached }
  }
  const corpus = await loadCorpus(run, join(folder, 'run.json'))
  const expected = (step: number, index: number) => microbatch(run, corpus, step, index)
  return { ...made, run, network, waitFor, join: join_, expected }
}

test('a peer fetches only the shards of its step and of the next step, and gets the same tokens', async () => {
  const { dataset, waitFor, join, expected } = await setUp({ microbatches: 1 })
  join('owner', { own: false })
  const { data, cached } = join('peer')
  const loaded = await waitFor(data.load(() => ['owner', 'peer']))
  expect(cached()).toHaveLength(1)
  expect(await waitFor(loaded.training(1, 0))).toEqual(expected(1, 0))
  const { train, heldOut } = dataset.sources[0]!
  const all = 1 + train.shards.length + heldOut.shards.length
  // A step has two rows, each in one or two shards.
  expect(cached().length).toBeLessThanOrEqual(1 + 8)
  expect(all).toBeGreaterThan(30)
  for (let step = 2; step < 40; step++) {
    expect(await waitFor(loaded.training(step, 0))).toEqual(expected(step, 0))
  }
  await waitFor(loaded.heldOut(0))
})

test('a peer serves the shards that it has fetched, also after their first owner has left', async () => {
  const { network, waitFor, join, expected } = await setUp()
  join('owner', { own: false })
  const first = join('first')
  const own = await waitFor(first.data.load(() => ['owner']))
  await waitFor(own.training(1, 0))
  network.kill('owner')
  const second = join('second')
  const loaded = await waitFor(second.data.load(() => ['owner', 'first']))
  expect(await waitFor(loaded.training(1, 0))).toEqual(expected(1, 0))
  // A shard that neither of them has.
  const missing = Promise.all(
    Array.from({ length: 20 }, (_, index) => loaded.training(7 + index, 0)),
  )
  await expect(waitFor(missing)).rejects.toThrow(/no peer gives the file with SHA-256/)
})

test('the cache does not exceed its bound, and a dropped shard is fetched again', async () => {
  const { waitFor, join, expected } = await setUp({ microbatches: 1 })
  join('owner', { own: false })
  const bytes = 10_000
  const { data, cached } = join('peer', { cacheBytes: bytes })
  const loaded = await waitFor(data.load(() => ['owner']))
  for (const step of [...Array.from({ length: 25 }, (_, i) => i + 1), 1, 2, 3]) {
    expect(await waitFor(loaded.training(step, 0))).toEqual(expected(step, 0))
    // A shard has 2000 bytes. Shards in use at the same time may exceed the bound.
    expect(cached().length).toBeLessThanOrEqual(bytes / 2000 + 4)
  }
})

test('a restarted peer uses its cache, and fetches a damaged shard again', async () => {
  const { waitFor, join: start, expected } = await setUp({ microbatches: 1 })
  start('owner', { own: false })
  const cacheFolder = join(temporaryFolder(), 'cache')
  const load = async (name: string, donors: string[]) => {
    const { data } = start(name, { cacheFolder })
    return waitFor(data.load(() => donors))
  }
  await waitFor((await load('before', ['owner'])).training(1, 0))
  expect(await waitFor((await load('after', [])).training(1, 0))).toEqual(expected(1, 0))

  for (const name of readdirSync(cacheFolder)) {
    const path = join(cacheFolder, name)
    const bytes = readFileSync(path)
    bytes[0]! ^= 1
    writeFileSync(path, bytes)
  }
  const mended = await load('mended', ['owner'])
  expect(await waitFor(mended.training(1, 0))).toEqual(expected(1, 0))
  for (const name of readdirSync(cacheFolder)) {
    expect(digestOf(readFileSync(join(cacheFolder, name)))).toBe(name)
  }
})

describe('a founder', () => {
  test('without the folder and without peers gets an error that names the missing file', async () => {
    const { waitFor, join } = await setUp()
    const { data } = join('alone')
    const loading = waitFor(data.load(() => ['alone']))
    await expect(loading).rejects.toThrow(InputError)
    await expect(loading).rejects.toThrow(/dataset.json of prepared:dataset is not on this machine/)
  })

  test('with a part of the folder fetches the other files', async () => {
    const { out, dataset, waitFor, join: start, expected } = await setUp({ microbatches: 1 })
    start('owner', { own: false })
    const half = temporaryFolder()
    cpSync(out, join(half, 'dataset'), { recursive: true })
    const { shards } = dataset.sources[0]!.train
    for (const { file } of shards.slice(3)) rmSync(join(half, 'dataset', file))
    const { data, cached } = start('half', { runPath: join(half, 'run.json') })
    const loaded = await waitFor(data.load(() => ['owner']))
    for (let step = 1; step < 60; step++) {
      expect(await waitFor(loaded.training(step, 0))).toEqual(expected(step, 0))
    }
    const kept = new Set(shards.slice(0, 3).map(({ sha256 }) => sha256))
    expect(cached().filter((name) => kept.has(name))).toEqual([])
    expect(cached().length).toBeGreaterThan(shards.length / 2)
  })

  test('with an incomplete folder and without peers gets an error, and a damaged shard is not served', async () => {
    const { out, dataset, waitFor, join: start, expected } = await setUp({ microbatches: 1 })
    const { shards } = dataset.sources[0]!.train
    const first = shards[0]!.file
    for (const { file } of shards.slice(1)) rmSync(join(out, file))
    const { data } = start('owner', { own: false })
    const loaded = await waitFor(data.load(() => []))
    const steps = Array.from({ length: 40 }, (_, i) => i + 1)
    const readAll = (data: BatchSource) =>
      waitFor(Promise.all(steps.map((step) => data.training(step, 0))))
    await expect(readAll(loaded)).rejects.toThrow(
      /s0-train-\d+.bin of prepared:dataset is not on this machine/,
    )
    writeFileSync(join(out, first), 'damaged')
    const theirs = await waitFor(start('other').data.load(() => ['owner']))
    await expect(readAll(theirs)).rejects.toThrow(/no peer gives the file/)
    expect(() => steps.map((step) => expected(step, 0))).toThrow(/is missing|is damaged/)
  })
})
