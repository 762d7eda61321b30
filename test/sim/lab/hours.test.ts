/** The hours of a scenario against virtual time: a clock of two paces. */
import { expect, test } from 'vitest'
import { Hours } from '../../../sim/lab/hours.ts'
import { World } from '../../../sim/world.ts'

const HOUR_MS = 3_600_000

async function pass(world: World, ms: number): Promise<void> {
  await world.run(world.clock.sleep(ms), { waitingFor: 'time to pass' })
}

test('hours go by at the pace of the iterations, and at that of the clock while a stage is empty', async () => {
  const world = new World({ seed: 1 })
  const hours = new Hours(world, 60)
  await pass(world, HOUR_MS)
  expect(hours.now).toBe(0)
  hours.begin(0.5)
  await pass(world, HOUR_MS / 120)
  expect(hours.now).toBeCloseTo(1, 9)
  hours.emptied(3)
  hours.emptied(4)
  await pass(world, HOUR_MS / 2)
  hours.held(3)
  await pass(world, HOUR_MS / 4)
  expect(hours.now).toBeCloseTo(1.75, 9)
  hours.held(4)
  await pass(world, HOUR_MS / 60)
  expect(hours.now).toBeCloseTo(2.75, 9)
})

test('what is due comes at its hour, whatever the pace was before, and in the order of the hours', async () => {
  const world = new World({ seed: 1 })
  const hours = new Hours(world, 100)
  hours.begin(0)
  const came: [string, number][] = []
  const note = (name: string) => () => came.push([name, hours.now])
  hours.at(2, note('second'))
  hours.at(1, () => {
    note('first')()
    hours.emptied(1)
    world.schedule(HOUR_MS / 2, 'held again', () => hours.held(1))
  })
  hours.at(1.25, note('while it is empty'))
  hours.at(0, note('at once'))
  await pass(world, HOUR_MS)
  expect(came.map(([name]) => name)).toEqual(['at once', 'first', 'while it is empty', 'second'])
  for (const [i, hour] of [0, 1, 1.25, 2].entries()) expect(came[i]![1]).toBeCloseTo(hour, 6)
})
