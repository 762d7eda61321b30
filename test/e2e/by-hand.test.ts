/** A user's actions in a few shells: init, three times join, the kill of a holder, and one more join. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../../protocols/clock.ts'
import type { Entry } from '../../src/base/journal.ts'
import { Children } from '../../src/cli/children.ts'
import { readSafetensors } from '../../stages/safetensors.ts'
import { cli, TINY, workFolder } from '../fixtures/cli.ts'

// The test is long because it follows one run of real processes from its beginning to its end.
test('three peers find each other without addresses, lose a stage, and continue with a fourth peer', async () => {
  const folder = workFolder()
  const steps = 30
  const policy = ['--policy', 'checkfree,copy,random']
  const init = await cli(
    ['init', '--stages', '2', '--steps', String(steps), ...policy, ...TINY],
    folder,
  )
  expect(init).toMatchObject({ code: 0, stderr: '' })

  const children = new Children()
  onTestFinished(() => children.stop(systemClock))
  const entries: Entry[] = []
  const complaints: string[] = []
  const pids = new Map<string, number>()
  const join_ = () => {
    const args = ['join', '--run', join(folder, 'run.json'), '--threads', '1', '--provider', 'cpu']
    const child = children.start(
      args,
      (entry) => {
        entries.push(entry)
        if (entry.type === 'started') pids.set(entry.peer, child.pid)
        act(entry)
      },
      (complaint) => complaints.push(complaint),
    )
    return child
  }
  let killed: { pid: number; stage: number } | null = null
  const fourth = Promise.withResolvers<ReturnType<typeof join_>>()
  const act = (entry: Entry) => {
    if (killed !== null || entry.type !== 'step' || entry.step < 5) return
    const held = entries.find((other) => other.type === 'held' && other.stage === 2)
    if (held?.type !== 'held') throw new Error('stage 2 was never held')
    killed = { pid: pids.get(held.by)!, stage: 2 }
    children.signal(killed.pid, 'SIGKILL')
    fourth.resolve(join_())
  }

  // All three start at once, and exactly one may found the run.
  const first = [join_(), join_(), join_()]
  const all = [...first, await fourth.promise]
  const exits = await Promise.all(all.map(({ exited }) => exited))

  expect(complaints).toEqual([])
  expect(exits.toSorted()).toEqual([0, 0, 0, 'SIGKILL'])
  expect(entries.filter(({ type }) => type === 'founded')).toHaveLength(1)
  const recovery = entries.find((entry) => entry.type === 'held' && entry.cause === 'lost')
  // The fourth peer has the folder of the killed one, and may find the stage there. Otherwise the stage's neighbour is copied.
  expect(recovery).toMatchObject({ stage: 2, strategy: expect.stringMatching(/^(kept|copy)$/) })
  const committed = entries.flatMap((entry) => (entry.type === 'step' ? [entry.step] : []))
  expect(committed).toEqual(Array.from({ length: steps }, (_, i) => i + 1))

  // Each peer has saved its stage in a readable file.
  const saved = entries.flatMap((entry) => (entry.type === 'saved' ? [entry.path] : []))
  expect(saved).toHaveLength(3)
  const names = saved.flatMap((path) => [...readSafetensors(readFileSync(path)).tensors.keys()])
  expect(names).toContain('model.embed_tokens.weight')
  expect(names.filter((name) => name.endsWith('mlp.gate_proj.weight'))).toHaveLength(6)
  for (const pid of pids.values()) expect(existsSync(`/proc/${pid}`)).toBe(false)
})
