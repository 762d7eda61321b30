/**
 * Plays 29 short histories of the fuzzer that have all its faults, and checks that a seed always gives the same
 * history. `npm run sim:fuzz` plays thousands.
 */
import { describe, expect, test } from 'vitest'
import { FAULTS } from '../../sim/faults.ts'
import { CALAMITY_NAMES } from '../../sim/fuzz/calamities.ts'
import { drawCase } from '../../sim/fuzz/case.ts'
import { checkPlanted } from '../../sim/fuzz/planted.ts'
import { Play } from '../../sim/fuzz/play.ts'

/** Seeds of short histories. The fourth group has calamities, and the last two have seeds that found a defect once. */
const SEEDS = [
  [2, 5, 7, 14, 15],
  [19, 25, 32, 37, 69],
  [48, 54, 59, 77, 79],
  [13, 36, 39, 66, 72],
  [939, 1655, 2136, 2496, 2835],
  [3375, 3937, 4288, 4371],
]

describe('whatever befalls a swarm, the invariants hold and the run is finished', () => {
  test.each(SEEDS.map((seeds) => [seeds]))('seeds %j', async (seeds) => {
    for (const seed of seeds) {
      const { violation } = await new Play(drawCase(seed)).run()
      expect(violation, `npm run sim:fuzz -- --seed ${seed}`).toBe(null)
    }
  })
})

test('the seeds have every fault and every calamity', () => {
  const cases = SEEDS.flat().map(drawCase)
  expect(new Set(cases.flatMap(({ faults }) => faults))).toEqual(new Set(Object.keys(FAULTS)))
  const calamities = cases.flatMap(({ calamity }) => calamity?.kind ?? [])
  expect(new Set(calamities)).toEqual(new Set(CALAMITY_NAMES))
})

test('the same seed has the same history', async () => {
  const [one, other] = [await new Play(drawCase(13)).run(), await new Play(drawCase(13)).run()]
  expect(one.story.some((entry) => 'type' in entry && entry.type === 'returned')).toBe(true)
  expect(JSON.stringify(other)).toBe(JSON.stringify(one))
})

test('each planted mistake of `npm run sim:planted` still has its line in the code', () => {
  checkPlanted()
})
