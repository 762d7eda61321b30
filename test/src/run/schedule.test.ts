/** The schedules of the learning rate. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  learningRateAt,
  SCHEDULES,
  type ScheduleConfig,
  type ScheduleName,
} from '../../../src/run/schedule.ts'

const names = Object.keys(SCHEDULES) as ScheduleName[]

function config(overrides: Partial<ScheduleConfig>): ScheduleConfig {
  return {
    learningRate: 1e-3,
    warmupSteps: 0,
    schedule: 'constant',
    decayTo: 0.1,
    decayShare: 0.2,
    ...overrides,
  }
}

test('the learning rate has the values that were computed by hand, for each schedule', () => {
  const at = (schedule: ScheduleName, steps: number[]) =>
    steps.map((step) =>
      learningRateAt(config({ schedule, learningRate: 1, warmupSteps: 9 }), step, 110),
    )
  // The warm-up has steps 1 to 9. Progress is 0 at step 10 and 1 at step 110.
  expect(at('constant', [1, 5, 9, 10, 110])).toEqual([0.1, 0.5, 0.9, 1, 1])
  expect(at('cosine', [5, 10, 60, 110])).toBeAllclose([0.5, 1, 0.55, 0.1], { relative: 1e-12 })
  expect(at('stable', [5, 10, 90, 100, 110])).toBeAllclose([0.5, 1, 1, 0.55, 0.1], {
    relative: 1e-12,
  })
})

test.each(names)(
  '%s stays within (0, the learning rate] and, after the warm-up, never rises',
  (schedule) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 0, max: 400 }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        (steps, warmupSteps, decayTo) => {
          let last = Number.POSITIVE_INFINITY
          for (let step = 1; step <= steps; step++) {
            const rate = learningRateAt(config({ schedule, warmupSteps, decayTo }), step, steps)
            expect(rate).toBeGreaterThan(0)
            expect(rate).toBeLessThanOrEqual(1e-3 * (1 + 1e-12))
            if (step > warmupSteps) {
              expect(rate).toBeLessThanOrEqual(last * (1 + 1e-12))
              last = rate
            }
          }
        },
      ),
    )
  },
)
