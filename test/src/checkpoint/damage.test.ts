/** Damaged checkpoints: lost or changed content is refused by name, and the step before is used. */
import { beforeEach, expect, test } from 'vitest'
import { MemoryStore } from '../../../sim/world/memory-store.ts'
import { loadStage } from '../../../src/checkpoint/load.ts'
import { encode, MANIFEST, type Manifest, stepFolder } from '../../../src/checkpoint/manifest.ts'
import { commitStep } from '../../../src/checkpoint/save.ts'
import { latestComplete, openStep, retain } from '../../../src/checkpoint/steps.ts'
import { stageConfig } from '../../../src/run/run.ts'
import { Random } from '../../../stages/random.ts'
import { holdsSmallStep, RUN, saveSmallStep } from './small-step.ts'

let store: MemoryStore
let manifest: Manifest

beforeEach(async () => {
  store = new MemoryStore()
  await saveSmallStep(store, 6)
  manifest = await saveSmallStep(store, 7)
})

/** All boxes of step 7, each with its tensor. */
function boxes() {
  return Object.entries(manifest.tensors).flatMap(([tensor, { copies }]) =>
    copies.flatMap(({ boxes }) => boxes.map((box) => ({ tensor, ...box }))),
  )
}

function contentOf(file: string): Uint8Array {
  return store.files.get(`${stepFolder(7)}/${file}`)!
}

async function latest(depth: 'lengths' | 'content') {
  const refused: string[] = []
  const found = await latestComplete(store, { depth, onRefused: (_, why) => refused.push(why) })
  return { step: found?.step, refused }
}

test('an undamaged checkpoint contains the saved state, in several files for each stage', async () => {
  expect(await latest('content')).toEqual({ step: 7, refused: [] })
  expect(await holdsSmallStep(store, manifest)).toBe(true)
  expect(new Set(boxes().map(({ file }) => file)).size).toBeGreaterThan(6)
})

test('one flipped bit in any box is refused, and the message names the tensor', async () => {
  const random = new Random('flips')
  for (const { tensor, file, begin, end } of boxes()) {
    const at = begin + random.integer(end - begin)
    const flip = 1 << random.integer(8)
    contentOf(file)[at]! ^= flip
    const { step, refused } = await latest('content')
    expect(step).toBe(6)
    expect(refused[0]).toMatch(`tensor ${tensor}: bytes ${begin} to ${end} of`)
    expect(refused[0]).toMatch('damaged')
    const { stage } = manifest.tensors[tensor]!
    await expect(loadStage(store, manifest, stageConfig(RUN), stage)).rejects.toThrow(refused[0])
    contentOf(file)[at]! ^= flip
  }
})

test('a short or missing file is detected by its length', async () => {
  const { tensor, file, end } = boxes().at(-1)!
  const name = `${stepFolder(7)}/${file}`
  store.files.set(name, contentOf(file).slice(0, end - 1))
  expect(await latest('lengths')).toEqual({
    step: 6,
    refused: [expect.stringContaining(`tensor ${tensor}: ${name} is truncated`)],
  })
  store.files.delete(name)
  expect((await latest('lengths')).refused[0]).toMatch(/tensor .*: .* is missing/)
  await expect(openStep(store, 7)).rejects.toThrow('is missing')
})

test('a manifest with any changed byte or missing part is refused', async () => {
  const name = `${stepFolder(7)}/${MANIFEST}`
  const whole = store.files.get(name)!
  const random = new Random('manifest')
  for (let i = 0; i < 50; i++) {
    const changed = whole.slice()
    changed[random.integer(whole.length - 1)]! ^= 1 << random.integer(7)
    store.files.set(name, changed)
    expect((await latest('lengths')).step).toBe(6)
    store.files.set(name, whole.slice(0, random.integer(whole.length - 1)))
    expect((await latest('lengths')).step).toBe(6)
  }
})

test('an intact manifest with wrong content is refused with the reason', async () => {
  const cases: [RegExp, (manifest: Manifest) => void][] = [
    [/copies\.0\.boxes\.0\.file/, (m) => Object.assign(boxOf(m), { file: '../../secret.bin' })],
    [/tensor model.norm.weight: .* overlap/, (m) => copyOf(m).boxes.push(boxOf(m))],
    [/tensor model.norm.weight: 7 of 8 elements/, (m) => boxOf(m).size.splice(0, 1, 7)],
    [/tensor model.norm.weight: .* not inside/, (m) => boxOf(m).size.splice(0, 1, 9)],
    [
      /tensor model.norm.weight: 28 bytes of/,
      (m) => Object.assign(boxOf(m), { end: boxOf(m).end - 4 }),
    ],
    [/tensor model.norm.weight: stage 9/, (m) => Object.assign(m.tensors[NORM]!, { stage: 9 })],
    [/is of step 5/, (m) => Object.assign(m, { step: 5 })],
    [/is of version 2/, (m) => Object.assign(m, { version: 2 })],
  ]
  for (const [reason, change] of cases) {
    const changed = structuredClone(manifest)
    change(changed)
    store.files.set(`${stepFolder(7)}/${MANIFEST}`, encode(changed))
    const { step, refused } = await latest('lengths')
    expect(step).toBe(6)
    expect(refused[0]).toMatch(reason)
  }
})

const NORM = 'model.norm.weight'
const copyOf = (m: Manifest) => m.tensors[NORM]!.copies[0]!
const boxOf = (m: Manifest) => copyOf(m).boxes[0]!

test('a stage of another shape, a missing tensor and a step of another run are refused by name', async () => {
  const wider = { ...RUN, model: { ...RUN.model, intermediateSize: 24 } }
  await expect(loadStage(store, manifest, stageConfig(wider), 1)).rejects.toThrow(
    'tensor model.layers.0.mlp.gate_proj.weight: is [16,8], not [24,8]',
  )
  const deeper = { ...RUN, model: { ...RUN.model, layers: 4 } }
  await expect(loadStage(store, manifest, stageConfig(deeper), 2)).rejects.toThrow(
    'tensor model.layers.2.input_layernorm.weight: is not in the checkpoint',
  )
  const refused: string[] = []
  const options = { run: deeper, depth: 'lengths' as const }
  const onRefused = (_: number, why: string) => refused.push(why)
  expect(await latestComplete(store, { ...options, onRefused })).toBeNull()
  expect(refused).toEqual([
    expect.stringMatching('another run'),
    expect.stringMatching('another run'),
  ])
})

test('a step is committed only when all its parts are present', async () => {
  const commit = { run: RUN, step: 7, replicas: [2, 3, 2] }
  await expect(commitStep(store, commit)).rejects.toThrow('part-1-of-2-0-of-3.json is missing')
  await expect(commitStep(store, { ...commit, step: 8, replicas: [2, 2, 2] })).rejects.toThrow(
    'step-000000000008/part-0-of-2-0-of-2.json is missing',
  )
})

test('the last N complete steps are kept, and newer incomplete ones', async () => {
  await saveSmallStep(store, 8)
  store.files.delete(`${stepFolder(7)}/${MANIFEST}`)
  store.files.set(`${stepFolder(8)}/left-over.bin.12.tmp`, new Uint8Array(3))
  store.files.set(`${stepFolder(9)}/on-its-way.bin`, new Uint8Array(3))
  const removed: string[] = []
  const { remove } = MemoryStore.prototype
  store.remove = async (name) => {
    removed.push(name)
    await remove.call(store, name)
  }
  await retain(store, 2)
  expect((await latest('content')).step).toBe(8)
  expect((await openStep(store, 6)).step).toBe(6)
  const folders = new Set([...store.files.keys()].map((name) => name.split('/')[0]))
  expect([...folders].sort()).toEqual([6, 8, 9].map(stepFolder))
  expect([...store.files.keys()].some((name) => /tmp|part/.test(name))).toBe(false)

  removed.length = 0
  await retain(store, 1)
  // The manifest was deleted first.
  expect(removed[0]).toBe(`${stepFolder(6)}/${MANIFEST}`)
  expect((await latest('content')).step).toBe(8)
})
