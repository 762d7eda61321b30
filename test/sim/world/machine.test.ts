import { expect, test } from 'vitest'
import { Machine } from '../../../sim/world/machine.ts'
import { World } from '../../../sim/world/world.ts'

function setUp(rate?: number, offsetMs?: number) {
  const world = new World({ seed: 1 })
  const machine = new Machine(world, { rate, offsetMs })
  const journal: string[] = []
  const note = (what: string) => () => journal.push(`${world.clock.now()} ${what}`)
  const until = (ms: number) => world.run(world.clock.sleep(ms), { waitingFor: 'time to pass' })
  return { world, machine, journal, note, until }
}

test('the clock of a machine has its own origin and rate, and its sleeps follow that rate', async () => {
  const { world, machine, until } = setUp(1.25, 1000)
  expect(machine.clock.now()).toBe(1000)
  let woke = 0
  void machine.clock.sleep(500).then(() => {
    woke = world.clock.now()
  })
  await until(800)
  // 400 ms of the world are 500 ms of this clock.
  expect([woke, machine.clock.now()]).toEqual([400, 2000])
  machine.drift(0.5)
  expect(machine.clock.now()).toBe(2000)
  await until(100)
  expect(machine.clock.now()).toBe(2050)
})

test('events that come due on a frozen machine happen when the machine is thawed, in order', async () => {
  const { world, machine, journal, note, until } = setUp()
  const leaving = new AbortController()
  const cancelled = machine.clock.sleep(6, leaving.signal).catch(() => {})
  machine.schedule(5, 'first', note('first'))
  machine.schedule(7, 'second', note('second'))
  void machine.compute(8, 'work', () => 'worked').then((result) => note(result)())
  world.schedule(9, 'another', note('another'))
  await until(1)
  machine.freeze()
  await until(19)
  expect(journal).toEqual(['9 another'])
  leaving.abort()
  machine.schedule(5, 'third', note('third'))
  machine.thaw()
  await until(100)
  await cancelled
  expect(journal).toEqual(['9 another', '20 first', '20 second', '20 worked', '25 third'])
  expect(world.pending).toBe(0)
})

test('code runs to its next wait between two events that were held', async () => {
  const { machine, journal, note, until } = setUp()
  const chain = async (name: string) => {
    await machine.clock.sleep(1)
    for (let i = 0; i < 100; i++) await null
    note(name)()
  }
  void chain('a')
  void chain('b')
  machine.freeze()
  await until(10)
  machine.schedule(0, 'c', note('c'))
  machine.thaw()
  await until(10)
  expect(journal).toEqual(['10 c', '10 a', '10 b'])
})

test('no event happens on a machine that has ended', async () => {
  const { machine, journal, note, until } = setUp()
  machine.schedule(5, 'held', note('held'))
  machine.schedule(15, 'pending', note('pending'))
  machine.freeze()
  await until(10)
  machine.end()
  machine.thaw()
  await until(10)
  expect(journal).toEqual([])
})
