/** The hours of a scenario against virtual time. The clock has two paces. */
import { expect, test } from 'vitest'
import { Hours } from '../../../sim/lab/hours.ts'
import { World } from '../../../sim/world/world.ts'

const HOUR_MS = 3_600_000
const MINUTE_MS = 60_000

async function pass(world: World, ms: number): Promise<void> {
  await world.run(world.clock.sleep(ms), { waitingFor: 'time to pass' })
}

test('iterations count at the pace of what they stand for; beyond the usual, a disturbed one takes what it takes', async () => {
  const world = new World({ seed: 1 })
  // An iteration of a minute stands for an hour.
  const hours = new Hours(world, 60)
  await pass(world, HOUR_MS)
  expect(hours.now).toBe(0)
  hours.begin(1)
  for (let i = 0; i < 3; i++) {
    await pass(world, MINUTE_MS)
    hours.made()
  }
  expect(hours.now).toBeCloseTo(4, 9)

  // A stage is lost half a minute into the iteration, and another one later. The iteration takes five minutes instead of
  // one.
  await pass(world, MINUTE_MS / 2)
  hours.lost()
  await pass(world, MINUTE_MS)
  hours.lost()
  await pass(world, 3.5 * MINUTE_MS)
  const before = hours.now
  expect(before).toBeCloseTo(4.5 + 4.5 / 60, 9)
  hours.made()
  // Hours that passed at the quick pace before the loss keep their value.
  expect(hours.now).toBeCloseTo(before + 59 / 60, 9)

  await pass(world, MINUTE_MS)
  expect(hours.now).toBeCloseTo(before + 59 / 60 + 1, 9)
})

test('a loss between two iterations costs its minutes, and no more', async () => {
  const world = new World({ seed: 1 })
  const hours = new Hours(world, 60)
  hours.begin(1)
  for (const minutes of [1, 3, 1, 6]) {
    if (minutes > 1) hours.lost()
    await pass(world, minutes * MINUTE_MS)
    hours.made()
  }
  // The sum has five iterations and 2 + 5 further minutes.
  expect(hours.now).toBeCloseTo(5 + 7 / 60, 9)
})

test('what is due comes at its hour, whatever the pace was before, and in the order of the hours', async () => {
  const world = new World({ seed: 1 })
  const hours = new Hours(world, 100)
  hours.begin(0)
  const came: [string, number][] = []
  const note = (name: string) => () => came.push([name, hours.now])
  hours.at(2, note('third'))
  hours.at(1, () => {
    note('first')()
    hours.lost()
  })
  hours.at(1.25, note('while it is empty'))
  hours.at(0, note('at once'))
  await pass(world, HOUR_MS)
  expect(came.map(([name]) => name)).toEqual(['at once', 'first', 'while it is empty'])
  hours.made()
  await pass(world, HOUR_MS)
  expect(came.map(([name]) => name)).toEqual(['at once', 'first', 'while it is empty', 'third'])
  for (const [i, hour] of [0, 1, 1.25].entries()) expect(came[i]![1]).toBeCloseTo(hour, 6)
})
