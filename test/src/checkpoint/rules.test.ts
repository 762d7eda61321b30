/** Rules for tensors that are saved in another form than a stage holds them. */
import { describe, expect, test } from 'vitest'
import { DirectoryStore } from '../../../src/checkpoint/directory-store.ts'
import { gather, placesOf, type StageTensors, scatter } from '../../../src/checkpoint/layout.ts'
import type { Manifest } from '../../../src/checkpoint/manifest.ts'
import { commitStep, saveStage } from '../../../src/checkpoint/save.ts'
import { readTensor } from '../../../src/checkpoint/tensor.ts'
import type { Parameter } from '../../../stages/stage.ts'
import type { TensorRule } from '../../../stages/tensor-rules.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'
import { thinRun } from './fixtures.ts'

const STATES = ['weights', 'firstMoment', 'secondMoment'] as const
const FUSED: Parameter = { name: 'layer.qkv', shape: [4, 6], offset: 0, length: 24 }
const PADDED: Parameter = { name: 'embed', shape: [5, 2], offset: 24, length: 10 }
const PLAIN: Parameter = { name: 'norm', shape: [3], offset: 34, length: 3 }
const PARAMETERS = [FUSED, PADDED, PLAIN]
/** A flat buffer with padding after its last parameter. */
const LENGTH = 40

function held(elementAt: (i: number) => number): StageTensors {
  const flat = (state: number) =>
    Float32Array.from({ length: LENGTH }, (_, i) => elementAt(i) + state)
  return { weights: flat(0), firstMoment: flat(100), secondMoment: flat(200) }
}

/** Saves tensors of replicas as stage 0 of a run whose other stages are empty. */
async function saved(
  copies: readonly StageTensors[],
  rules: readonly TensorRule[],
): Promise<{ store: DirectoryStore; manifest: Manifest }> {
  const run = thinRun(1, 1)
  const store = new DirectoryStore(temporaryFolder())
  const fields = { updates: 1, learningRateScale: 1, gradientNorm: null }
  const step = { run, step: 1, fields, rules }
  for (const [replica, tensors] of copies.entries()) {
    const part = { stage: 0, replica, replicas: copies.length, parameters: PARAMETERS }
    await saveStage(store, { ...step, ...part, tensors })
  }
  const other: Parameter = { name: 'other', shape: [1], offset: 0, length: 1 }
  const part = { stage: 1, replica: 0, replicas: 1, parameters: [other] }
  await saveStage(store, { ...step, ...part, tensors: held(() => 0) })
  return {
    store,
    manifest: await commitStep(store, { run, step: 1, replicas: [copies.length, 1] }),
  }
}

async function read({ store, manifest }: Awaited<ReturnType<typeof saved>>, name: string) {
  const { shape } = manifest.tensors[name]!
  const into = new Float32Array(shape.reduce((size, length) => size * length, 1))
  await readTensor(store, manifest, name, shape, into)
  return { shape, values: [...into] }
}

const counting = held((i) => i)

test('the rule replicated saves one copy, and refuses a differing copy by name', async () => {
  const { manifest } = await saved([counting, counting, counting], [])
  expect(manifest.tensors.embed!.copies).toHaveLength(1)
  const drifted = held((i) => (i === PADDED.offset + 7 ? -1 : i))
  await expect(saved([counting, drifted], [])).rejects.toThrow(
    /stage 0, replica 1: tensor embed differs/,
  )
})

test('the rule averaged saves every copy, and loads their mean', async () => {
  const rules: TensorRule[] = [{ tensors: /^embed$/, kind: 'averaged' }]
  const checkpoint = await saved([counting, held((i) => i + 3), counting], rules).catch(String)
  // The other tensors are still replicated, and differ.
  expect(checkpoint).toMatch('tensor layer.qkv differs')
  const all: TensorRule[] = [{ tensors: /./, kind: 'averaged' }]
  const averaged = await saved([counting, held((i) => i + 3), counting], all)
  expect(averaged.manifest.tensors.embed!.copies).toHaveLength(3)
  const expected = Array.from({ length: 10 }, (_, i) => PADDED.offset + i + 1)
  expect((await read(averaged, 'embed')).values).toEqual(expected)
  expect((await read(averaged, 'optimizer.first_moment.norm')).values).toEqual([135, 136, 137])
})

test('the rule fused saves each part under its own name, along any axis', async () => {
  const parts = [
    { name: 'q', length: 3 },
    { name: 'k', length: 2 },
    { name: 'v', length: 1 },
  ]
  const checkpoint = await saved(
    [counting, counting],
    [{ tensors: /qkv/, kind: 'fused', axis: 1, parts }],
  )
  expect(await read(checkpoint, 'q')).toEqual({
    shape: [4, 3],
    values: [0, 1, 2, 6, 7, 8, 12, 13, 14, 18, 19, 20],
  })
  expect(await read(checkpoint, 'v')).toEqual({ shape: [4, 1], values: [5, 11, 17, 23] })
  expect(checkpoint.manifest.tensors['layer.qkv']).toBeUndefined()
})

test('the rule padded does not save the padding', async () => {
  const checkpoint = await saved(
    [counting],
    [{ tensors: /embed/, kind: 'padded', axis: 0, length: 3 }],
  )
  expect(await read(checkpoint, 'embed')).toEqual({
    shape: [3, 2],
    values: [24, 25, 26, 27, 28, 29],
  })
})

describe('loading', () => {
  const rules: TensorRule[] = [
    {
      tensors: /qkv/,
      kind: 'fused',
      axis: 1,
      parts: [
        { name: 'qk', length: 5 },
        { name: 'v', length: 1 },
      ],
    },
    { tensors: /embed/, kind: 'padded', axis: 1, length: 1 },
  ]

  test('restores every element except the padding', async () => {
    const back = held(() => -1)
    for (const buffer of Object.values(back)) (buffer as Float32Array).fill(0)
    for (const place of placesOf(PARAMETERS, rules, STATES)) {
      await scatter(back, place, async (flat) => flat.set(gather(counting, place)))
    }
    const expected = Array.from(counting.secondMoment)
    for (let row = 0; row < 5; row++) expected[PADDED.offset + row * 2 + 1] = 0
    expected.fill(0, PLAIN.offset + PLAIN.length)
    expect([...back.secondMoment]).toEqual(expected)
  })

  test('refuses a rule that does not fit', () => {
    const short: TensorRule = {
      tensors: /qkv/,
      kind: 'fused',
      axis: 0,
      parts: [{ name: 'q', length: 3 }],
    }
    expect(() => placesOf(PARAMETERS, [short], STATES)).toThrow(
      'layer.qkv [4,6]: its parts make up 3',
    )
    const long: TensorRule = { tensors: /embed/, kind: 'padded', axis: 0, length: 6 }
    expect(() => placesOf(PARAMETERS, [long], STATES)).toThrow('embed [5,2] has no 6')
  })
})
