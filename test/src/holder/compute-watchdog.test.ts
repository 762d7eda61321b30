/** The watch over the calls to a stage's thread. */
import { expect, test } from 'vitest'
import { World } from '../../../sim/world/world.ts'
import { COMPUTE_FACTOR, TIMEOUTS } from '../../../src/base/limits.ts'
import { watchCompute } from '../../../src/holder/compute-watchdog.ts'

/** Plays calls that take so many milliseconds, one after another. Gives when and why the thread was given up. */
async function played(durations: readonly number[]) {
  const world = new World({ seed: 1 })
  const guard = watchCompute(world.clock, 3)
  const given: { at: number; reason: string }[] = []
  const giveUp = (reason: string) => given.push({ at: world.clock.now(), reason })
  const calls = async () => {
    for (const ms of durations) await guard('update', world.clock.sleep(ms), giveUp)
    return world.clock.now()
  }
  const end = await world.run(calls(), { waitingFor: 'the calls', untilMs: 10_000_000 })
  return { given, end }
}

test('a first call may take long', async () => {
  const ms = TIMEOUTS.computeFirstMs
  expect((await played([ms - 1])).given).toEqual([])
  const { given } = await played([ms + 1])
  expect(given).toHaveLength(1)
  expect(given[0]!.at).toBe(ms)
  expect(given[0]!.reason).toContain('the thread of stage 3 hangs: it has not answered update')
})

test('a later call may take many times as long as the longest before, and never less than a minute', async () => {
  const usual = 10_000
  expect((await played([usual, 100, COMPUTE_FACTOR * usual - 1])).given).toEqual([])
  expect((await played([usual, 100, COMPUTE_FACTOR * usual + 1])).given).toHaveLength(1)
  expect((await played([10, TIMEOUTS.computeMs - 1])).given).toEqual([])
  expect((await played([10, TIMEOUTS.computeMs + 1])).given).toHaveLength(1)
})

test('a call that was answered is watched no more', async () => {
  const { end, given } = await played([10, 10, 10])
  expect(given).toEqual([])
  expect(end).toBe(30)
})
