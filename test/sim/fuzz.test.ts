/**
 * Plays fifty histories of the fuzzer, and checks that a seed always gives the same history. `npm run sim:fuzz` plays
 * thousands.
 */
import { describe, expect, test } from 'vitest'
import { drawCase } from '../../sim/fuzz/case.ts'
import { checkPlanted } from '../../sim/fuzz/planted.ts'
import { Play } from '../../sim/fuzz/play.ts'

const SEEDS = 50
const BATCH = 10

describe('whatever befalls a swarm, the invariants hold and the run is finished', () => {
  test.each(Array.from({ length: SEEDS / BATCH }, (_, i) => 1 + i * BATCH))(
    'ten seeds from %i',
    async (from) => {
      for (let seed = from; seed < from + BATCH; seed++) {
        const { violation } = await new Play(drawCase(seed)).run()
        expect(violation, `npm run sim:fuzz -- --seed ${seed}`).toBe(null)
      }
    },
  )
})

test('the same seed has the same history', async () => {
  const [one, other] = [await new Play(drawCase(3)).run(), await new Play(drawCase(3)).run()]
  expect(one.story.length).toBeGreaterThan(100)
  expect(JSON.stringify(other)).toBe(JSON.stringify(one))
})

test('each planted mistake of `npm run sim:planted` still has its line in the code', () => {
  checkPlanted()
})
