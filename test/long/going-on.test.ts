/** Real processes that continue with fewer stages by themselves after one of them is killed. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../protocols/clock.ts'
import type { Entry } from '../../src/base/journal.ts'
import { Children } from '../../src/cli/children.ts'
import { readRun, runId } from '../../src/run/run.ts'
import { cli, TINY, workFolder } from '../fixtures/cli.ts'
import { entriesOf } from '../fixtures/swarm.ts'

const STEPS = 60

test('with --reshard-after, three processes with two body stages become two processes with one body stage', async () => {
  const folder = workFolder()
  const settings = [
    '--steps',
    `${STEPS}`,
    '--stages',
    '2',
    '--layers',
    '2',
    '--policy',
    'checkpoint',
  ]
  expect(await cli(['init', ...TINY, ...settings], folder)).toMatchObject({ code: 0 })
  const path = join(folder, 'run.json')
  const written = JSON.parse(readFileSync(path, 'utf8'))
  written.recovery.checkpoint.everySteps = 4
  writeFileSync(path, JSON.stringify(written))

  const children = new Children()
  onTestFinished(() => children.stop(systemClock))
  const entries: Entry[] = []
  let killed: number | null = null
  const hear = (entry: Entry) => {
    entries.push(entry)
    if (killed !== null || entry.type !== 'checkpoint') return
    killed = processes.at(-1)!.pid
    children.signal(killed, 'SIGKILL')
  }
  const args = ['join', '--run', path, '--threads', '1', '--provider', 'cpu', '--checkpoints']
  const own = [...args, join(folder, 'saved'), '--reshard-after', '1']
  const processes = [0, 1, 2].map(() => children.start(own, hear, () => {}))
  const exits = await Promise.all(processes.map(({ exited }) => exited))
  expect(exits).toEqual([0, 0, 'SIGKILL'])

  const moved = entriesOf(entries, 'resharded')
  const successor = readRun(join(folder, 'run-1-stages.json'))
  expect(moved.map(({ run, stages }) => [run, stages])).toEqual(
    Array.from({ length: 2 }, () => [
      { from: runId(readRun(path)), to: runId(successor) },
      { from: 2, to: 1 },
    ]),
  )
  const steps = entriesOf(entries, 'step').filter(({ counted }) => counted.length === 2)
  const { step } = moved[0]!
  expect(steps.map((made) => made.step)).toEqual(
    Array.from({ length: STEPS - step }, (_, i) => step + 1 + i),
  )
}, 60_000)
