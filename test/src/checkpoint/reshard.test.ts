/** `gensyn-node reshard`: the new manifest, the new checkpoint, and refusals. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../protocols/clock.ts'
import type { Terminal } from '../../../src/base/terminal.ts'
import { DirectoryStore } from '../../../src/checkpoint/directory-store.ts'
import { loadStage } from '../../../src/checkpoint/load.ts'
import { type ReshardOptions, reshard } from '../../../src/checkpoint/reshard.ts'
import { latestComplete } from '../../../src/checkpoint/steps.ts'
import { readRun, runId, stageConfig } from '../../../src/run/run.ts'
import { cli } from '../../fixtures/cli.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'
import { RUN, saveSmallStep } from './small-step.ts'

let folder: string
let from: string
let out: string
let lines: string[]

beforeEach(async () => {
  folder = temporaryFolder()
  from = join(folder, 'from')
  out = join(folder, 'out')
  lines = []
  await saveSmallStep(new DirectoryStore(from), 3)
  await saveSmallStep(new DirectoryStore(from), 4)
})

function run(overrides: Partial<ReshardOptions> = {}): Promise<void> {
  const runOut = join(folder, 'new.json')
  const terminal = {
    line: (text: string) => lines.push(text),
    event: () => {},
  } as unknown as Terminal
  return reshard(
    { from, out, stages: 1, runOut, force: false, ...overrides },
    { terminal, clock: systemClock, env: {} },
  )
}

test('the command writes the manifest of the new run, and the last step in its stages', async () => {
  const args = ['reshard', '--from', 'from', '--stages', '1', '--out', 'out']
  const { code, stdout, stderr } = await cli(args, folder)
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toMatch(
    /out: step 4 with 1 body stages in place of 2, of run .* run-1-stages.json/,
  )
  const resharded = readRun(join(folder, 'run-1-stages.json'))
  expect(resharded).toEqual({ ...RUN, stages: 1 })

  const [before, after] = [new DirectoryStore(from), new DirectoryStore(out)]
  const options = { depth: 'content' as const }
  const old = (await latestComplete(before, options))!
  const manifest = (await latestComplete(after, { ...options, run: resharded }))!
  expect(runId(manifest.run)).toBe(runId(resharded))
  expect(manifest.stages.map(({ updates }) => updates)).toEqual([4, 4])
  // Both ways of reading give the same state.
  for (const config of [stageConfig(RUN), stageConfig(resharded)]) {
    expect(await loadStage(after, manifest, config, 1)).toEqual(
      await loadStage(before, old, config, 1),
    )
  }
})

test('an impossible request is refused, and no file is left behind', async () => {
  const nothing = /holds no complete checkpoint/
  await expect(run({ from: join(folder, 'none') })).rejects.toThrow(nothing)
  await expect(run({ stages: 3 })).rejects.toThrow(/2 do not divide evenly among 3 stages/)
  await expect(run({ step: 5 })).rejects.toThrow(/step-000000000005\/manifest.json is missing/)
  expect(readdirSync(folder)).toEqual(['from'])
})

test('an existing checkpoint is not replaced, and an existing manifest only with --force', async () => {
  await run()
  const manifest = readFileSync(join(folder, 'new.json'))
  const input = { name: 'InputError' }
  await expect(run()).rejects.toMatchObject(input)
  const inPlace = { out: from, runOut: join(folder, 'other.json') }
  await expect(run(inPlace)).rejects.toThrow(/from\/step-.*exists. Choose another --out/)
  await expect(run({ out: join(folder, 'out-2') })).rejects.toThrow(/new.json exists.*--run-out/)
  expect(existsSync(join(folder, 'out-2'))).toBe(false)
  await run({ force: true })
  expect(readFileSync(join(folder, 'new.json'))).toEqual(manifest)
})

test('a damaged step is refused by the name of its tensor, and the step before is used', async () => {
  const data = join(from, 'step-000000000004')
  const file = readdirSync(data).find((name) => name.endsWith('.bin'))!
  const bytes = readFileSync(join(data, file))
  bytes[0]! ^= 1
  writeFileSync(join(data, file), bytes)
  const damaged = /step 4: tensor \S+: bytes 0 to \d+ of .* are damaged/
  await expect(run({ step: 4 })).rejects.toThrow(damaged)
  expect(existsSync(join(folder, 'new.json'))).toBe(false)

  await run()
  expect(lines[0]).toMatch(damaged)
  expect(lines[1]).toMatch(/out: step 3 with 1 body stages/)
})
