/** Checks when losses strike a run in which one iteration stands for many. */
import { expect, test } from 'vitest'
import { type PlayJob, playJob } from '../../../sim/lab/play-job.ts'
import { loadScenario } from '../../../sim/lab/scenario.ts'
import { TINY_LAB_RUN } from '../../fixtures/tiny-lab.ts'

const { scenario } = loadScenario('quick', {
  run: {
    ...TINY_LAB_RUN,
    spares: 2,
    evaluation: { everySteps: 5, microbatches: 4 },
  },
})

const ITERATION_HOURS = 0.5

async function outcomeOf(
  losses: PlayJob['losses'],
  stepSeconds: number,
  more: Partial<PlayJob> = {},
) {
  const { run, data, network, compute } = scenario
  const base = { run, data, network, compute, peers: null, seed: 1, steps: 16, hours: null }
  const recovery = { policy: ['checkfree', 'copy', 'random'] }
  const job = { ...base, recovery, losses, atBoundaries: true, targetLoss: null }
  const fold = (ITERATION_HOURS * 3_600) / stepSeconds
  const times = { fold, iterationHours: ITERATION_HOURS }
  return playJob({ ...job, ...times, ...more }, process.cwd(), () => {})
}

async function played(losses: PlayJob['losses'], stepSeconds: number) {
  const outcome = await outcomeOf(losses, stepSeconds)
  expect(outcome.failure).toBeNull()
  expect(outcome.iterations).toBe(16)
  return outcome
}

const { stepSeconds } = await played([], 10)
const calm = await played([], stepSeconds)

test('neighbours that are lost in one iteration, minutes apart, are mended one after the other', async () => {
  const [, [, looked]] = calm.curve as [unknown, [number, number, number]]
  const { recoveries, hours } = await played(
    [
      { hours: looked + 0.05, stage: 2 },
      { hours: looked + 0.15, stage: 3 },
      // The newcomer after the earlier loss is also lost.
      { hours: looked + 0.25, stage: 3 },
    ],
    stepSeconds,
  )
  expect(recoveries.map(({ strategy }) => strategy)).toEqual(Array(3).fill('checkfree'))
  expect(new Set(recoveries.map(({ iteration }) => iteration)).size).toBe(1)
  // Each recovery counts its own seconds.
  const seconds = recoveries.reduce((sum, each) => sum + each.seconds!, 0)
  const more = (hours - calm.hours) * 3_600
  expect(more / seconds).toBeGreaterThan(0.9)
  expect(more / seconds).toBeLessThan(1.4)
})

test('those that are lost within seconds are gone together, and neither is averaged', async () => {
  const { recoveries } = await played(
    [
      { hours: 0.6, stage: 2 },
      { hours: 0.6 + 3 / 3_600, stage: 3 },
    ],
    stepSeconds,
  )
  expect(recoveries).toHaveLength(2)
  for (const { skipped } of recoveries) expect(skipped).toContain('checkfree')
})

test('an evaluation sees the model before what is lost after its step', async () => {
  const [[, looked]] = calm.curve as [[number, number, number]]
  const { curve } = await played([{ hours: looked - ITERATION_HOURS / 2, stage: 2 }], stepSeconds)
  expect(curve[0]![2]).toBe(calm.curve[0]![2])
  expect(curve[1]![2]).not.toBe(calm.curve[1]![2])
})

test('where everybody is lost at once the run is over, though others come in their places', async () => {
  const everybody = [0, 1, 2, 3, 4, 5, 6].map((slot) => ({ hours: 2.2, slot }))
  const { failure, losses, iterations } = await outcomeOf(everybody, stepSeconds)
  expect(failure).toBe('nobody is left who was in the run')
  expect(losses).toHaveLength(everybody.length)
  expect(iterations).toBe(5)
})

test('where the coordinator and a majority with it are lost at once, those who are left end the run', async () => {
  const most = [0, 1, 2, 3].map((slot) => ({ hours: 2.2, slot }))
  const { failure, iterations } = await outcomeOf(most, stepSeconds)
  expect(failure).toMatch(/nobody can take over: .*Without a majority/)
  expect(iterations).toBe(5)
})

test('where each peer is in a region, no copy is kept in that of its stage: one region that goes takes none along', async () => {
  const shadow = { everySteps: 1, keepers: 1, endsKeepers: 1 }
  const recovery = { policy: ['shadow', 'checkfree', 'copy', 'random'], shadow }
  // Slots 1 and 4 hold two stages.
  const region = [1, 4].map((slot) => ({ hours: 2.2, slot }))
  const strategies = async (domains: PlayJob['domains']) => {
    const { recoveries } = await outcomeOf(region, stepSeconds, { recovery, domains })
    return recoveries.map(({ strategy }) => strategy).sort()
  }
  expect(await strategies(['a', 'b', 'c'])).toEqual(['shadow', 'shadow'])
  expect(await strategies(undefined)).toEqual(['copy', 'shadow'])
})
