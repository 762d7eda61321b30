/** Real processes go on from a checkpoint, with as many stages as it was saved by, and with another number. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../protocols/clock.ts'
import { DirectoryStore } from '../../src/checkpoint/directory-store.ts'
import { Children } from '../../src/children.ts'
import { loadCorpus } from '../../src/corpus.ts'
import type { Entry } from '../../src/journal.ts'
import { readRun } from '../../src/run.ts'
import { parameterView } from '../../stages/parameters.ts'
import { readSafetensors } from '../../stages/safetensors.ts'
import { saveSwarm } from '../fixtures/checkpoint.ts'
import { cli, TINY, workFolder } from '../fixtures/cli.ts'
import { entriesOf } from '../fixtures/swarm.ts'
import { VirtualSwarm } from '../fixtures/virtual-swarm.ts'

const SAVED = 5
const STEPS = 12

async function train(folder: string, run: string, peers: number): Promise<Entry[]> {
  const children = new Children()
  onTestFinished(() => children.stop(systemClock))
  const entries: Entry[] = []
  const args = ['join', '--run', join(folder, run), '--resume', join(folder, 'checkpoints')]
  const common = [...args, '--threads', '1', '--provider', 'cpu']
  const all = Array.from({ length: peers }, () =>
    children.start(common, (entry) => entries.push(entry), expect.unreachable),
  )
  expect(await Promise.all(all.map(({ exited }) => exited))).toEqual(all.map(() => 0))
  return entries
}

test('join --resume: the unbroken run to its last bit; with other stages its losses', async () => {
  const folder = workFolder()
  // One microbatch a step: sums of several depend on the order in which they come.
  const settings = ['--steps', String(STEPS), '--stages', '2', '--layers', '2']
  const init = ['init', ...TINY, ...settings, '--microbatches', '1', '--schedule', 'cosine']
  expect(await cli(init, folder)).toMatchObject({ code: 0 })
  const runPath = join(folder, 'run.json')
  const run = readRun(runPath)
  const corpus = await loadCorpus(run, runPath)
  const checkpoints = new DirectoryStore(join(folder, 'checkpoints'))
  await saveSwarm(checkpoints, run, SAVED, corpus)

  const unbroken = new VirtualSwarm(run, undefined, corpus)
  const expected = new Map<string, Float32Array>()
  for (let i = 1; i <= 3; i++) {
    unbroken.join(`peer-${i}`, {
      save: async ({ parameters, weights }) => {
        for (const each of parameters) {
          expected.set(each.name, Float32Array.from(parameterView(weights, each)))
        }
        return ''
      },
    })
  }
  await unbroken.end()
  const lossesOf = (entries: readonly Entry[]) => entriesOf(entries, 'step').map((s) => s.loss)
  const left = lossesOf(unbroken.entries).slice(SAVED)

  expect(lossesOf(await train(folder, 'run.json', 3))).toEqual(left)
  const out = ['export', '--format', 'safetensors', '--out', 'out']
  expect(await cli(out, folder)).toMatchObject({ code: 0 })
  const { tensors } = readSafetensors(readFileSync(join(folder, 'out', 'model.safetensors')))
  expect(new Map([...tensors].map(([name, { data }]) => [name, data]))).toEqual(expected)

  // The manifest of reshard; the checkpoint as it was saved.
  const reshard = ['reshard', '--from', 'checkpoints', '--stages', '1', '--out', 'checkpoints-1']
  expect(await cli(reshard, folder)).toMatchObject({ code: 0 })
  const other = lossesOf(await train(folder, 'run-1-stages.json', 2))
  expect(other).toBeAllclose(left, { relative: 1e-6 })

  const nowhere = await cli(['join', '--resume', 'nowhere', '--no-mdns'], folder)
  expect(nowhere.stderr).toMatch(/nowhere holds no complete checkpoint/)
  expect(nowhere.code).toBe(2)
}, 120_000)
