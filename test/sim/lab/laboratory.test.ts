/** Impossible settings of the laboratory are refused by name, and a recorded curve can take the place of training. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { examine } from '../../../sim/lab/laboratory.ts'
import { loadScenario } from '../../../sim/lab/scenario.ts'
import { TINY_SCENARIO as TINY } from '../../fixtures/tiny-lab.ts'

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
