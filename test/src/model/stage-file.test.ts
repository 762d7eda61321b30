/** Saved stages, and the search for all stages of one step. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { saveStage, stageFiles } from '../../../src/model/stage-file.ts'
import { readSafetensors } from '../../../stages/safetensors.ts'
import { type AnyStage, sharedFloats } from '../../../stages/stage.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

const RUN = 'a'.repeat(64)

/** A stage with two weights. */
function stageOf(value: number): AnyStage {
  const weights = sharedFloats(16)
  weights.fill(value, 0, 2)
  const parameters = [{ name: `tensor-${value}`, shape: [2], offset: 0, length: 2 }]
  return { parameters, weights } as unknown as AnyStage
}

/** Writes stage files, each given as [peer, stage, step, value]. */
function left(files: readonly [number, number, number, number][]): string {
  const dataDir = temporaryFolder()
  for (const [peer, stage, step, value] of files) {
    const folder = join(dataDir, RUN.slice(0, 12), 'peers', String(peer))
    mkdirSync(folder, { recursive: true })
    saveStage(folder, stageOf(value), { run: RUN, stage, step })
  }
  return dataDir
}

test("a saved stage names its run, stage and step, and replaces its peer's earlier stage", () => {
  const folder = temporaryFolder()
  saveStage(folder, stageOf(1), { run: RUN, stage: 1, step: 9 })
  const path = saveStage(folder, stageOf(2), { run: RUN, stage: 2, step: 10 })
  expect(readdirSync(folder)).toEqual(['stage-2.safetensors'])
  const { metadata, tensors } = readSafetensors(readFileSync(path))
  expect(metadata).toEqual({ format: 'pt', run: RUN, stage: '2', step: '10' })
  expect([...tensors.get('tensor-2')!.data]).toEqual([2, 2])
})

test('the latest step with all stages is chosen', async () => {
  const dataDir = left([
    [1, 0, 10, 0],
    [2, 1, 10, 1],
    [3, 0, 20, 2],
    [4, 1, 20, 3],
    [5, 0, 30, 4],
  ])
  const { step, paths } = await stageFiles(dataDir, RUN, 2)
  expect(step).toBe(20)
  expect(paths.map((path) => path.split('/').slice(-2).join('/'))).toEqual([
    '3/stage-0.safetensors',
    '4/stage-1.safetensors',
  ])
})

test('the error names a missing stage, and the stages of each step', async () => {
  const missing = left([
    [1, 0, 10, 0],
    [2, 2, 10, 1],
  ])
  await expect(stageFiles(missing, RUN, 3)).rejects.toThrow(
    /for step 10, stage 0, 2 is present and stage 1 is missing/,
  )
  const apart = left([
    [1, 0, 10, 0],
    [2, 1, 9, 1],
  ])
  await expect(stageFiles(apart, RUN, 2)).rejects.toThrow(
    /for step 10, stage 0 is present and stage 1 is missing; for step 9, stage 1 is present and stage 0/,
  )
  await expect(stageFiles(temporaryFolder(), RUN, 2)).rejects.toThrow(/no peer of this run/)
})

test('two different files of the same stage and step are refused, and two equal files are accepted', async () => {
  const twice = left([
    [1, 0, 10, 5],
    [2, 0, 10, 5],
  ])
  expect((await stageFiles(twice, RUN, 1)).step).toBe(10)
  const different = left([
    [1, 0, 10, 5],
    [2, 0, 10, 6],
  ])
  await expect(stageFiles(different, RUN, 1)).rejects.toThrow(/are both stage 0 after step 10/)
})

test('a file without metadata and a damaged file are refused by name', async () => {
  const dataDir = left([[1, 0, 10, 0]])
  const path = join(dataDir, RUN.slice(0, 12), 'peers', '1', 'stage-0.safetensors')
  writeFileSync(path, readFileSync(path).subarray(0, 40))
  await expect(stageFiles(dataDir, RUN, 1)).rejects.toThrow(
    /stage-0\.safetensors is not an intact safetensors file/,
  )
})
