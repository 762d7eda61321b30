/** Plays the laboratory with a tiny model. Its results depend on the scenario alone, not on the number of workers. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { examine } from '../../sim/lab/laboratory.ts'
import { resultsSchema } from '../../sim/lab/results.ts'
import { loadScenario } from '../../sim/lab/scenario.ts'
import { temporaryFolder } from '../fixtures/folder.ts'
import { TINY_SCENARIO } from '../fixtures/tiny-lab.ts'

function loaded(folder: string) {
  const path = join(folder, 'scenario.json')
  writeFileSync(path, JSON.stringify(TINY_SCENARIO))
  return loadScenario(path)
}

function laboratory(workers: number, cache: string) {
  let played = 0
  const lab = {
    workers,
    cache,
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
  const folder = temporaryFolder()
  const one = laboratory(1, join(folder, 'one'))
  const two = laboratory(2, join(folder, 'two'))
  const first = await examine(loaded(folder), one.lab)
  const second = await examine(loaded(folder), two.lab)
  expect(JSON.stringify(second)).toBe(JSON.stringify(first))
  const before = one.played()
  expect(before).toBeGreaterThan(0)
  expect(JSON.stringify(await examine(loaded(folder), one.lab))).toBe(JSON.stringify(first))
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
