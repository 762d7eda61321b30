/** Walks along a recorded curve against closed forms. */
import { expect, test } from 'vitest'
import { drawLosses, failureSchema } from '../../../sim/lab/failures/table.ts'
import { type Walk, walk } from '../../../sim/lab/replay.ts'
import { toCheckpoint } from '../../../sim/strategies/trace.ts'

const straight: Walk['curve'] = [
  [0, 100],
  [100_000, 0],
]

function given(overrides: Partial<Walk>): Walk {
  return {
    curve: straight,
    losses: [],
    seconds: 36,
    recoverySeconds: 360,
    backTo: (iteration) => iteration,
    everySteps: 10,
    iterationsMax: 1_000,
    hoursMax: Number.POSITIVE_INFINITY,
    targetLoss: null,
    ...overrides,
  }
}

test('undisturbed, it is the curve; a loss that loses nothing takes its time and no iteration', () => {
  const calm = walk(given({}))
  expect(calm.hours).toBeCloseTo(10, 9)
  expect(calm.curve.at(-1)).toEqual([1_000, expect.closeTo(10, 9), expect.closeTo(99, 9)])
  const struck = walk(given({ losses: [{ hours: 1.005, stage: 1 }] }))
  expect(struck.hours).toBeCloseTo(10.1, 9)
  expect(struck.curve.map(([, , loss]) => loss)).toEqual(calm.curve.map(([, , loss]) => loss))
})

test('it ends at the target, at the hour that is allowed, or at the last iteration', () => {
  expect(walk(given({ targetLoss: 99.5 })).iterations).toBe(500)
  expect(walk(given({ hoursMax: 2 })).iterations).toBe(200)
  expect(walk(given({ iterationsMax: 7 })).iterations).toBe(7)
})

test('rollback: on average as much is kept of each hundred as (1 - (1 - p)^100) (1 - p) / p says', () => {
  const p = 0.004
  const every = 100
  const seconds = 36
  const iterationsMax = 200_000
  const process = failureSchema.parse({ name: 'p', process: 'iteration', probability: p })
  const place = {
    hours: (iterationsMax * seconds) / 3_600,
    stages: 1,
    peers: 2,
    regionOf: () => 'home',
    iterationSeconds: seconds,
  }
  const losses = drawLosses(process, place, 1, '.')
  const { met, iterations } = walk(
    given({ losses, seconds, recoverySeconds: 0, backTo: toCheckpoint(every), iterationsMax }),
  )
  const made = iterations - met.reduce((sum, { lost }) => sum + lost, 0)
  // A block of a hundred is begun again at each failure, until a hundred in a row go well.
  const attempts = (1 - (1 - p) ** every) / (p * (1 - p) ** every)
  expect(made / iterations).toBeGreaterThan((every / attempts) * 0.95)
  expect(made / iterations).toBeLessThan((every / attempts) * 1.05)
})
