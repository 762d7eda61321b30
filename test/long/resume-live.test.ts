/** Real processes write checkpoints and are all killed. Others continue, with as many stages and with fewer. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../protocols/clock.ts'
import type { Entry } from '../../src/base/journal.ts'
import { Children } from '../../src/cli/children.ts'
import { loadCorpus } from '../../src/data/corpus.ts'
import { readRun } from '../../src/run/run.ts'
import { parameterView } from '../../stages/parameters.ts'
import { readSafetensors } from '../../stages/safetensors.ts'
import { cli, TINY, workFolder } from '../fixtures/cli.ts'
import { entriesOf } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 30

/** Runs one process for each stage until all have ended. It kills all of them after a checkpoint if `killed` is set. */
async function train(
  folder: string,
  run: string,
  options: readonly string[],
  killed: boolean,
): Promise<Entry[]> {
  const children = new Children()
  onTestFinished(() => children.stop(systemClock))
  const entries: Entry[] = []
  const pids: number[] = []
  const hear = (entry: Entry) => {
    entries.push(entry)
    if (killed && entry.type === 'checkpoint') {
      for (const pid of pids) children.signal(pid, 'SIGKILL')
    }
  }
  const path = join(folder, run)
  const args = ['join', '--run', path, '--threads', '1', '--provider', 'cpu', ...options]
  const all = Array.from({ length: readRun(path).stages + 1 }, () =>
    children.start(args, hear, killed ? () => {} : expect.unreachable),
  )
  pids.push(...all.map(({ pid }) => pid))
  const exits = await Promise.all(all.map(({ exited }) => exited))
  expect(exits).toEqual(all.map(() => (killed ? 'SIGKILL' : 0)))
  return entries
}

test('join --resume gives the weights of an unbroken run bit for bit, and its losses with fewer stages', async () => {
  const folder = workFolder()
  // One microbatch a step, since the sum of several depends on the order of their arrival.
  const settings = ['--steps', String(STEPS), '--stages', '2', '--layers', '2', '--clip', 'whole']
  const more = ['--microbatches', '1', '--schedule', 'cosine', '--policy', 'checkpoint,checkfree']
  expect(await cli(['init', ...TINY, ...settings, ...more], folder)).toMatchObject({ code: 0 })
  const runPath = join(folder, 'run.json')
  const written = JSON.parse(readFileSync(runPath, 'utf8'))
  written.recovery.checkpoint.everySteps = 4
  writeFileSync(runPath, JSON.stringify(written))
  const run = readRun(runPath)

  const unbroken = new TestSwarm(run, { corpus: await loadCorpus(run, runPath) })
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
  const losses = lossesOf(unbroken.entries)

  const live = join(folder, 'live')
  const before = await train(folder, 'run.json', ['--checkpoints', live], true)
  expect(lossesOf(before)).toEqual(losses.slice(0, lossesOf(before).length))
  cpSync(live, join(folder, 'saved'), { recursive: true })
  const resume = ['--resume', join(folder, 'saved'), '--checkpoints']

  const after = await train(folder, 'run.json', [...resume, live], false)
  const from = entriesOf(after, 'step')[0]!.step
  expect(from % 4).toBe(1)
  expect(from).toBeGreaterThan(4)
  expect(from).toBeLessThan(STEPS)
  expect(lossesOf(after)).toEqual(losses.slice(from - 1))
  const out = ['export', '--format', 'safetensors', '--out', 'out']
  expect(await cli(out, folder)).toMatchObject({ code: 0 })
  const { tensors } = readSafetensors(readFileSync(join(folder, 'out', 'model.safetensors')))
  expect(new Map([...tensors].map(([name, { data }]) => [name, data]))).toEqual(expected)

  // The manifest is reshard's, and the checkpoint is the one that two stages wrote.
  const reshard = ['reshard', '--from', 'saved', '--stages', '1', '--out', 'resharded']
  expect(await cli(reshard, folder)).toMatchObject({ code: 0 })
  const places = [...resume, join(folder, 'live-1')]
  const fewer = await train(folder, 'run-1-stages.json', places, false)
  expect(lossesOf(fewer)).toBeAllclose(losses.slice(from - 1), { relative: 1e-6 })

  const nowhere = ['join', '--resume', 'nowhere', '--checkpoints', 'live', '--no-mdns']
  const told = await cli(nowhere, folder)
  expect(told.stderr).toMatch(/nowhere holds no complete checkpoint/)
  expect(told.code).toBe(2)
}, 180_000)
