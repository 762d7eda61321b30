/**
 * Plays the laboratory with a tiny model. Its results depend on the scenario alone, and impossible settings are refused by
 * name.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { examine } from '../../../sim/lab/laboratory.ts'
import { resultsSchema } from '../../../sim/lab/results.ts'
import { loadScenario } from '../../../sim/lab/scenario.ts'
import type { WrittenScenario } from '../../../sim/lab/scenarios/written.ts'
import { TINY_LAB_RUN } from '../../fixtures/tiny-lab.ts'

const TINY: WrittenScenario = {
  format: 'gensyn-scenario',
  version: 1,
  name: 'tiny',
  run: {
    ...TINY_LAB_RUN,
    spares: 1,
    optimizer: { learningRate: 0.01, warmupSteps: 0 },
    evaluation: { everySteps: 4, microbatches: 2 },
  },
  iterationSeconds: 600,
  failures: [{ name: 'often', process: 'hourly', rate: 0.5, of: 'stage' }],
  strategies: ['none', 'checkfree'],
  seeds: [1, 2],
  targetLoss: 5,
  stopAtTarget: false,
  budget: { iterations: 16 },
}

const folder = mkdtempSync(join(tmpdir(), 'gensyn-lab-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0

function loaded(overrides: Record<string, unknown> = {}) {
  const path = join(folder, `scenario-${files++}.json`)
  writeFileSync(path, JSON.stringify({ ...TINY, ...overrides }))
  return loadScenario(path)
}

function laboratory(workers: number, cache: string) {
  let played = 0
  const lab = {
    workers,
    cache: join(folder, cache),
    progress: (tasks: readonly unknown[]) => {
      played += tasks.length
      return { finished: () => {}, steps: () => {} }
    },
  }
  return { lab, played: () => played }
}

test('one worker and two give the same results, byte for byte; a second time nothing is played', {
  timeout: 180_000,
}, async () => {
  const one = laboratory(1, 'one')
  const two = laboratory(2, 'two')
  const first = await examine(loaded(), one.lab)
  const second = await examine(loaded(), two.lab)
  expect(JSON.stringify(second)).toBe(JSON.stringify(first))
  const before = one.played()
  expect(before).toBeGreaterThan(0)
  expect(JSON.stringify(await examine(loaded(), one.lab))).toBe(JSON.stringify(first))
  expect(one.played()).toBe(before)

  expect(resultsSchema.parse(JSON.parse(JSON.stringify(first)))).toEqual(first)
  const of = (strategy: string) => first.trials.filter((trial) => trial.strategy === strategy)
  // An iteration takes its stated time.
  for (const { hours, iterations, recoveries } of of('none')) {
    expect(recoveries).toEqual([])
    expect(hours).toBeCloseTo((iterations * 600) / 3_600, 6)
  }
  // All strategies meet the same failures, and every lost stage was recovered.
  for (const { losses, recoveries, iterations, failure } of of('checkfree')) {
    expect(failure).toBeNull()
    expect(iterations).toBe(16)
    expect(losses.length).toBeGreaterThan(0)
    expect(recoveries.length).toBe(losses.length)
  }
  for (const { goodput } of first.summary.filter(({ strategy }) => strategy !== 'none')) {
    expect(goodput.mean).toBeLessThan(1)
  }
})

test.each<[string, Record<string, unknown>, RegExp]>([
  ['an unknown key', { strategie: [] }, /Unrecognized key.*strategie/],
  ['a strategy that is not there', { strategies: ['luck'] }, /strategies/],
  [
    'a region that is not there',
    { network: { between: [{ regions: ['a', 'b'], latencyMs: 1, mbitPerSecond: 1 }] } },
    /a is none of the regions/,
  ],
  ['a replay without a curve', { mode: 'replay' }, /curve/],
  ['a scale without hours', { mode: 'scale' }, /hours/],
  [
    'a rate above 1',
    { failures: [{ name: 'x', process: 'hourly', rate: 2, of: 'stage' }] },
    /rate/,
  ],
])('%s is refused by name', (_, overrides, says) => {
  expect(() => loaded(overrides)).toThrow(says)
})

test.each<[string, Record<string, unknown>, RegExp]>([
  [
    'a strategy that cannot work with so few stages',
    { run: { ...TINY.run, stages: 2 }, strategies: ['checkfree+'] },
    /strategy checkfree\+: .*checkfree\+/,
  ],
  [
    'layers that do not divide',
    { run: { ...TINY.run, stages: 3 }, strategies: ['none'] },
    /strategy none: .*layers: 4 do not divide evenly among 3/,
  ],
  [
    'a replay that is not told what a loss costs',
    { mode: 'replay', curve: 'none.csv', strategies: ['shadow'] },
    /strategy shadow: .*setbacks.shadow/,
  ],
  ['fewer peers than stages', { peers: 3 }, /peers is 3: 4 body stages and the ends need 5/],
  [
    'a trace that is not there',
    { failures: [{ name: 'x', process: 'trace', path: 'none.csv' }] },
    /none.csv/,
  ],
])('%s is refused before anything is played', async (_, overrides, says) => {
  const { lab, played } = laboratory(1, 'none')
  await expect(examine(loaded(overrides), lab)).rejects.toThrow(says)
  expect(played()).toBe(0)
})

test('a recorded curve is walked along, and says so', async () => {
  writeFileSync(join(folder, 'curve.csv'), 'iteration,loss\n0,10\n1000,5\n')
  const { lab, played } = laboratory(1, 'none')
  const results = await examine(
    loaded({
      mode: 'replay',
      curve: 'curve.csv',
      strategies: ['none', 'checkfree', 'checkpoint-100'],
      setbacks: { checkfree: 3 },
      targetLoss: 6,
      stopAtTarget: true,
      budget: { iterations: 5_000 },
      failures: [{ name: 'hourly', process: 'hourly', rate: 0.02, of: 'stage' }],
    }),
    lab,
  )
  expect(played()).toBe(0)
  expect(results.assumptions.join(' ')).toMatch(/Nothing was trained.*progress of 3 iterations/)
  const [none, checkfree, checkpoint] = results.summary
  expect(none!.iterationsToTarget!.mean).toBeCloseTo(800, 6)
  expect(checkfree!.iterationsToTarget!.mean).toBeGreaterThan(800)
  expect(checkpoint!.hoursToTarget!.mean).toBeGreaterThan(checkfree!.hoursToTarget!.mean)
})
