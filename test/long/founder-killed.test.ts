/** Real processes whose founder is killed, when no strategy restores what it held. */
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../protocols/clock.ts'
import type { Entry } from '../../src/base/journal.ts'
import { Children } from '../../src/cli/children.ts'
import { cli, TINY, workFolder } from '../fixtures/cli.ts'

test('if the founder is killed with the ends, another peer becomes coordinator, reports the loss, and all peers end', async () => {
  const folder = workFolder()
  // No strategy of this policy restores the ends.
  const policy = ['--policy', 'checkfree,copy,random']
  await cli(['init', '--stages', '2', '--steps', '100000', ...policy, ...TINY], folder)
  const children = new Children()
  onTestFinished(() => children.stop(systemClock))
  const entries: Entry[] = []
  const pids = new Map<string, number>()
  let killed = false
  const start = () =>
    children.start(
      ['join', '--run', join(folder, 'run.json'), '--threads', '1', '--provider', 'cpu'],
      (entry) => {
        entries.push(entry)
        if (entry.type === 'started') pids.set(entry.peer, entry.pid)
        if (killed || entry.type !== 'step' || entry.step < 3) return
        killed = true
        children.signal(pids.get(entry.peer)!, 'SIGKILL')
      },
      () => {},
    )
  const exits = await Promise.all([start(), start(), start()].map(({ exited }) => exited))
  expect(exits.toSorted()).toEqual([1, 1, 'SIGKILL'])
  const ends = entries.flatMap((entry) => (entry.type === 'finished' ? [entry.failure] : []))
  expect(ends).toHaveLength(2)
  expect(entries.filter(({ type }) => type === 'elected')).toHaveLength(2)
  for (const failure of ends) expect(failure).toMatch(/stage 0 is lost and no strategy/)
  expect(entries.filter(({ type }) => type === 'saved')).toHaveLength(2)
})
