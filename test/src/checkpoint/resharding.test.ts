/** A checkpoint of one number of stages and replicas is loaded into another, and training continues unchanged. */
import { expect, test } from 'vitest'
import { DirectoryStore } from '../../../src/checkpoint/directory-store.ts'
import { latestComplete } from '../../../src/checkpoint/steps.ts'
import type { Run } from '../../../src/run/run.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'
import { hashesOf, loadProcess, processOf, saveProcess, stageBytes, thinRun } from './fixtures.ts'

const LAYERS = 24
/** Bound of the gradient norm, lower than every norm of these runs. */
const CLIPPED = 0.1

test('a checkpoint of 4 stages with 2 replicas loads into 1, 2, 3, 6 and 8 stages: each reads its bytes only, with equal tensors and the same next loss', async () => {
  const run = thinRun(LAYERS, 4)
  const store = new DirectoryStore(temporaryFolder())
  const saved = await processOf(run)
  for (let step = 1; step <= 3; step++) await saved.step(step)
  const { uploads } = await saveProcess(store, run, saved, 3, 2)
  for (const [stage, bytes] of uploads.entries()) {
    const total = bytes.reduce((sum, share) => sum + share, 0)
    expect(total).toBe(stageBytes(run, stage))
    expect(Math.max(...bytes) / (total / bytes.length)).toBeLessThanOrEqual(1.1)
  }

  const manifest = (await latestComplete(store, { depth: 'content' }))!
  const hashes = hashesOf(saved)
  expect(Object.keys(manifest.tensors).sort()).toEqual([...hashes.keys()].sort())
  for (const [name, { copies }] of Object.entries(manifest.tensors)) {
    expect([name, copies[0]!.sha256]).toEqual([name, hashes.get(name)])
  }
  const nextLoss = await saved.step(4)
  await saved.close()
  for (const stages of [1, 2, 3, 6, 8]) {
    const other = thinRun(LAYERS, stages)
    const { process, downloads } = await loadProcess(store, manifest, other)
    expect(hashesOf(process)).toEqual(hashes)
    expect(downloads).toEqual(downloads.map((_, stage) => stageBytes(other, stage)))
    expect(Math.abs((await process.step(4)) - nextLoss)).toBeLessThanOrEqual(1e-6)
    await process.close()
  }
})

/** Clipping over the whole model does not depend on the stages. Clipping of each stage does. */
const CLIPPINGS: readonly [string, Partial<Run['optimizer']>][] = [
  ['nothing clipped', {}],
  ['each gradient clipped, over the whole model', { clip: 'whole', clipNorm: CLIPPED }],
]

/** Last losses of the unbroken runs. */
const ends = new Set<number>()

test.each(CLIPPINGS)(
  '100 steps with 4 stages, then 100 steps with 2 or 8, have the losses of the unbroken run, %s',
  async (_, clipping) => {
    const layers = 8
    const base = thinRun(layers, 4)
    const runOf = (stages: number) =>
      thinRun(layers, stages, { optimizer: { ...base.optimizer, ...clipping } })
    const run = runOf(4)
    const store = new DirectoryStore(temporaryFolder())
    const unbroken = await processOf(run)
    const losses: number[] = []
    for (let step = 1; step <= 200; step++) {
      losses.push(await unbroken.step(step))
      if (step === 100) await saveProcess(store, run, unbroken, step, 1)
    }
    await unbroken.close()
    // The runs must have learned, and clipping must make a difference, or equal losses would prove little.
    expect(losses[199]! - losses[99]!).toBeLessThan(-0.1)
    expect(ends).not.toContain(losses[199])
    ends.add(losses[199]!)

    const manifest = (await latestComplete(store, { depth: 'content' }))!
    for (const stages of [2, 8]) {
      const { process } = await loadProcess(store, manifest, runOf(stages))
      let worst = 0
      for (let step = 101; step <= 200; step++) {
        worst = Math.max(worst, Math.abs((await process.step(step)) - losses[step - 1]!))
      }
      await process.close()
      expect(worst).toBeLessThanOrEqual(1e-4)
    }
  },
)
