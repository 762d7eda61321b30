/** The final weights of a stage when a disk does not take them. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { InputError } from '../../../src/base/errors.ts'
import { TIMEOUTS } from '../../../src/base/limits.ts'
import { saveFinalStage } from '../../../src/model/save-final-stage.ts'
import { readSafetensors } from '../../../stages/safetensors.ts'
import { sharedFloats } from '../../../stages/stage.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const weights = sharedFloats(6)
weights.set([1, 2, 3, 4, 5, 6])
const stage = { parameters: [{ name: 'w', shape: [2, 3], offset: 0, length: 6 }], weights }
const label = { run: 'a'.repeat(64), stage: 2, step: 7 }

/** Two folders, each in a place that is a file at first and therefore takes nothing. */
function places(onSleep: (blocked: { folder: string; elsewhere: string }) => void = () => {}) {
  const top = temporaryFolder()
  const blocked = { folder: join(top, 'slot'), elsewhere: join(top, 'elsewhere') }
  for (const path of Object.values(blocked)) writeFileSync(path, '')
  let now = 0
  const told: string[] = []
  const clock = {
    now: () => now,
    sleep: async (ms: number) => {
      now += ms
      onSleep(blocked)
    },
  }
  const save = () =>
    saveFinalStage(stage, label, { ...blocked, clock, tell: (message) => told.push(message) })
  return { blocked, told, save, now: () => now }
}

function weightsIn(path: string): number[] {
  return Array.from(readSafetensors(readFileSync(path)).tensors.get('w')!.data as Float32Array)
}

test('a folder that was deleted is made again', async () => {
  const { blocked, told, save } = places()
  rmSync(blocked.folder)
  const path = await save()
  expect(path).toBe(join(blocked.folder, 'stage-2.safetensors'))
  expect(weightsIn(path)).toEqual([1, 2, 3, 4, 5, 6])
  expect(told).toEqual([])
})

test('weights that the data directory does not take go elsewhere, and the person is told where', async () => {
  const { blocked, told, save } = places()
  rmSync(blocked.elsewhere)
  const path = await save()
  expect(path).toBe(join(blocked.elsewhere, 'stage-2.safetensors'))
  expect(weightsIn(path)).toEqual([1, 2, 3, 4, 5, 6])
  expect(told).toHaveLength(1)
  expect(told[0]).toContain('the final weights of stage 2 (1 MB, step 7) cannot be written')
  expect(told[0]).toContain(`They are in ${path}`)
})

test('without any place they stay in memory until there is room', async () => {
  let sleeps = 0
  const { blocked, told, save } = places(({ folder }) => {
    if (++sleeps === 5) rmSync(folder)
  })
  expect(await save()).toBe(join(blocked.folder, 'stage-2.safetensors'))
  expect(told).toHaveLength(1)
  expect(told[0]).toContain('free 1 MB on that disk')
})

test('after a minute without room the error names path, size and remedy', async () => {
  const { blocked, save, now } = places()
  const error = await save().catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(InputError)
  expect((error as Error).message).toContain(
    `(1 MB, step 7) cannot be written to ${blocked.folder}`,
  )
  expect(now()).toBe(TIMEOUTS.finalSaveMs)
  expect(existsSync(join(blocked.folder, 'stage-2.safetensors'))).toBe(false)
})
