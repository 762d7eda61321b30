/** Checks walks along a recorded curve against closed forms. */
import { expect, test } from 'vitest'
import { drawLosses, failureSchema } from '../../../sim/lab/failures/table.ts'
import { stageLosses } from '../../../sim/lab/occupancy.ts'
import { toLastCheckpoint, type Walk, walk } from '../../../sim/lab/replay.ts'

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
    backTo: (progress) => progress,
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
  const { progress, iterations } = walk(
    given({ losses, seconds, recoverySeconds: 0, backTo: toLastCheckpoint(every), iterationsMax }),
  )
  // A block of a hundred iterations restarts at each failure, until a hundred in a row succeed.
  const attempts = (1 - (1 - p) ** every) / (p * (1 - p) ** every)
  expect(progress / iterations).toBeGreaterThan((every / attempts) * 0.95)
  expect(progress / iterations).toBeLessThan((every / attempts) * 1.05)
})

test('a loss takes it back to the last checkpoint; others at once, or before it is back, cost no more progress', () => {
  const back = { backTo: toLastCheckpoint(10), seconds: 36, recoverySeconds: 360 }
  // The losses come at iteration 25.5, at the same time again, and during the recovery, which restarts.
  const hours = [0.255, 0.255, 0.3]
  const struck = walk(given({ ...back, losses: hours.map((hour) => ({ hours: hour, stage: 1 })) }))
  expect(struck.met.map(({ lost }) => lost)).toEqual([expect.closeTo(5.5, 9), 0, 0])
  expect(struck.progress).toBeCloseTo(1_000 - 5.5, 9)
  // The sum has 0.255 h until the losses, 0.4 h when training resumes, and 974.5 further iterations.
  expect(struck.hours).toBeCloseTo(0.4 + 9.745, 9)
  // An iteration that ends at the loss was not saved. Earlier checkpoints are complete.
  const lost = (hour: number) =>
    walk(given({ ...back, losses: [{ hours: hour, stage: 1 }] })).met[0]!.lost
  expect(lost(0.2)).toBeCloseTo(10, 6)
  expect(lost(0.2001)).toBeCloseTo(0.01, 6)
})

test('looks at the loss come every so many iterations that are made, wherever it was taken back to', () => {
  const struck = walk(given({ backTo: toLastCheckpoint(10), losses: [{ hours: 0.255, stage: 1 }] }))
  expect(struck.curve.map(([made]) => made)).toEqual(
    Array.from({ length: 100 }, (_, i) => 10 * (i + 1)),
  )
  expect(struck.curve[2]![2]).toBeCloseTo(100 - 0.0245, 9)
})

test('a lost spare is no lost stage; who comes in its place waits behind the others', () => {
  const at = (hours: number, slot: number) => ({ hours, slot })
  // Slots 0 to 2 hold two stages and the ends. Slots 3 and 4 hold spares.
  const losses = [at(1, 3), at(2, 1), at(3, 1), at(4, 4), at(5, 0), at(6, 3)]
  expect(stageLosses(losses, 2, 5)).toEqual([
    { hours: 2, stage: 1 },
    // Slot 4 had stage 1. Slot 3 takes stage 1 now, since its newcomer has waited longer than the newcomer of slot 1.
    { hours: 4, stage: 1 },
    { hours: 5, stage: 0 },
    { hours: 6, stage: 1 },
  ])
  // Without a spare the newcomer takes the stage itself.
  expect(stageLosses([at(1, 2), at(2, 2)], 2, 3)).toEqual([
    { hours: 1, stage: 2 },
    { hours: 2, stage: 2 },
  ])
  expect(stageLosses([{ hours: 1, stage: 2 }], 2, 3)).toEqual([{ hours: 1, stage: 2 }])
})
