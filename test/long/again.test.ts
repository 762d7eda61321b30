/** A process that is started again searches for its run, and does not found it a second time. */
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../protocols/clock.ts'
import type { Entry } from '../../src/base/journal.ts'
import { Children } from '../../src/cli/children.ts'
import { cli, TINY, workFolder } from '../fixtures/cli.ts'

/** Prepares a run with one body stage, for two processes. */
async function prepared(steps: number) {
  const folder = workFolder()
  const settings = ['--steps', `${steps}`, '--stages', '1', '--layers', '1']
  expect(await cli(['init', ...TINY, ...settings], folder)).toMatchObject({ code: 0 })
  const children = new Children()
  onTestFinished(() => children.stop(systemClock))
  const path = join(folder, 'run.json')
  const args = ['join', '--run', path, '--threads', '1', '--provider', 'cpu', '--no-mdns']
  const start = (hear: (entry: Entry) => void, more: readonly string[] = []) =>
    children.start([...args, ...more], hear, () => {})
  return { folder, children, start }
}

test('joining a finished run prints that the run is over', async () => {
  const { folder, start } = await prepared(3)
  const both = [0, 1].map(() => start(() => {}))
  expect(await Promise.all(both.map(({ exited }) => exited))).toEqual([0, 0])
  const again = await cli(['join', '--threads', '1', '--provider', 'cpu', '--no-mdns'], folder)
  expect(again).toMatchObject({ code: 0 })
  expect(again.stdout).toMatch(/is over: all 3 steps are done.*--anew/)
}, 60_000)

test('after all processes were killed, one process more than before waits for the others, and only --anew founds the run', async () => {
  const { children, start } = await prepared(100_000)
  const pids: number[] = []
  let killed = false
  const first = [0, 1].map(() =>
    start((entry) => {
      if (killed || entry.type !== 'step' || entry.step < 3) return
      killed = true
      for (const pid of pids) children.signal(pid, 'SIGKILL')
    }),
  )
  pids.push(...first.map(({ pid }) => pid))
  await Promise.all(first.map(({ exited }) => exited))

  const seen: Entry[] = []
  const again = [0, 1, 2].map(() => {
    const waits = Promise.withResolvers<void>()
    const child = start((entry) => {
      seen.push(entry)
      // The process has found no peer, and keeps searching.
      if (entry.type === 'waiting') waits.resolve()
    })
    return { ...child, waits: waits.promise }
  })
  await Promise.all(again.map(({ waits }) => waits))
  for (const { pid } of again) children.signal(pid, 'SIGKILL')
  await Promise.all(again.map(({ exited }) => exited))
  expect(seen.map(({ type }) => type)).not.toContain('founded')
  const said = seen.flatMap((entry) => (entry.type === 'notice' ? [entry.message] : []))
  expect(said.join('\n')).toMatch(/does not found it again.*--anew.*--resume/)

  const founded = Promise.withResolvers<void>()
  start(({ type }) => type === 'founded' && founded.resolve(), ['--anew'])
  await founded.promise
}, 60_000)
