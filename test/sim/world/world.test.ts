import { expect, test } from 'vitest'
import { withDeadline } from '../../../protocols/clock.ts'
import { World, WorldError } from '../../../sim/world/world.ts'

const DONE = { waitingFor: 'the test to end' }

/** Work that takes real time, like that of a worker thread. */
const realMs = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

test('time jumps from event to event', async () => {
  const world = new World({ seed: 1 })
  const times: number[] = []
  const wait = async (ms: number) => {
    await world.clock.sleep(ms)
    times.push(world.clock.now())
  }
  await world.run(Promise.all([wait(86_400_000), wait(5), wait(0), wait(5)]), DONE)
  expect(times).toEqual([0, 5, 5, 86_400_000])
})

test('time stops when the awaited outcome is there, and the next run goes on from there', async () => {
  const world = new World({ seed: 1 })
  const later = world.clock.sleep(20)
  await world.run(world.clock.sleep(10), DONE)
  expect([world.clock.now(), world.pending]).toEqual([10, 1])
  await world.run(later, DONE)
  expect([world.clock.now(), world.pending]).toEqual([20, 0])
})

test('no event overtakes code that can still run, however many microtasks it takes', async () => {
  const world = new World({ seed: 1 })
  const order: string[] = []
  const chain = async () => {
    for (let i = 0; i < 10_000; i++) await null
    order.push('chain')
  }
  const alarm = world.clock.sleep(0).then(() => order.push('alarm'))
  await world.run(Promise.all([alarm, chain()]), DONE)
  expect(order).toEqual(['chain', 'alarm'])
})

test('an awaited outcome that fails throws its own error', async () => {
  const world = new World({ seed: 1 })
  const failure = world.clock.sleep(3).then(() => Promise.reject(new Error('lost')))
  await expect(world.run(failure, DONE)).rejects.toThrow('lost')
})

test('a sleep ends with its signal and leaves no event behind', async () => {
  const world = new World({ seed: 1 })
  const leaving = new AbortController()
  const sleep = world.clock.sleep(1000, leaving.signal)
  leaving.abort(new Error('leaving'))
  await expect(sleep).rejects.toThrow('leaving')
  await expect(world.clock.sleep(1000, leaving.signal)).rejects.toThrow('leaving')
  expect(world.pending).toBe(0)
})

test('met deadlines leave no events behind', async () => {
  const world = new World({ seed: 1 })
  const { clock } = world
  let most = 0
  const work = async () => {
    for (let i = 0; i < 100; i++) {
      await withDeadline({ clock, timeoutMs: 60_000 }, 'an answer', () => clock.sleep(1))
      most = Math.max(most, world.pending)
    }
  }
  await world.run(work(), DONE)
  expect([most, clock.now()]).toEqual([0, 100])
})

test('a deadline that is not met expires in virtual time', async () => {
  const world = new World({ seed: 1 })
  const { clock } = world
  const never = withDeadline({ clock, timeoutMs: 60_000 }, 'an answer', () => new Promise(() => {}))
  await expect(world.run(never, DONE)).rejects.toMatchObject({ code: 'TIMEOUT' })
  expect(clock.now()).toBe(60_000)
})

test('time stands still during real work, then jumps by the stated time', async () => {
  const world = new World({ seed: 1 })
  const { clock } = world
  const journal: string[] = []
  const note = (what: string) => journal.push(`${clock.now()} ${what}`)
  const work = world.compute(10, 'work', async () => {
    await realMs(5)
    note('worked')
    return 'result'
  })
  const computed = work.then(note)
  const ticking = clock.sleep(3).then(() => note('tick'))
  await world.run(Promise.all([computed, ticking]), DONE)
  expect(journal).toEqual(['0 worked', '3 tick', '10 result'])
})

test('a failure of real work is known after the stated time', async () => {
  const world = new World({ seed: 1 })
  const work = world.compute(10, 'work', () => Promise.reject(new Error('out of memory')))
  const failedAt = work.catch((error: Error) => `${error.message} at ${world.clock.now()}`)
  expect(await world.run(failedAt, DONE)).toBe('out of memory at 10')
  const sync = world.compute(1, 'work', () => {
    throw new Error('not now')
  })
  await expect(world.run(sync, DONE)).rejects.toThrow('not now')
})

test('work that starts at one moment runs in parallel, and ends in the order of its starts', async () => {
  const world = new World({ seed: 1 })
  const real: string[] = []
  const virtual: string[] = []
  const secondEnded = Promise.withResolvers<void>()
  const works = [
    world.compute(5, 'first', async () => {
      await secondEnded.promise
      real.push('first')
    }),
    world.compute(5, 'second', async () => {
      real.push('second')
      secondEnded.resolve()
    }),
  ]
  await world.run(
    Promise.all([
      works[0]!.then(() => virtual.push('first')),
      works[1]!.then(() => virtual.push('second')),
    ]),
    DONE,
  )
  expect([real, virtual]).toEqual([
    ['second', 'first'],
    ['first', 'second'],
  ])
})

test('the same seed gives the same history, however long real work takes', async () => {
  const histories = new Set<string>()
  for (let round = 0; round < 5; round++) histories.add(await tangle('seed'))
  expect(histories.size).toBe(1)
  expect(histories).not.toContain(await tangle('another seed'))
})

/** Twenty loops sleep, compute and pass a token around. Equal times are frequent. */
async function tangle(seed: string): Promise<string> {
  const world = new World({ seed })
  const history: string[] = []
  const batons = Array.from({ length: 20 }, () => Promise.withResolvers<void>())
  const loop = async (i: number) => {
    const random = world.random.stream(i)
    for (let turn = 0; turn < 10; turn++) {
      const ms = random.integer(3)
      if (random.integer(2) === 0) await world.clock.sleep(ms)
      else await world.compute(ms, `loop ${i}`, () => realMs(Math.random() * 3))
      history.push(`${world.clock.now()} ${i}`)
      if (turn === 5) {
        batons[i]!.resolve()
        await batons[random.integer(batons.length)]!.promise
      }
    }
  }
  await world.run(Promise.all(batons.map((_, i) => loop(i))), DONE)
  return history.join('\n')
}

test('the error of an outcome that cannot come names it and the pending events', async () => {
  const world = new World({ seed: 1 })
  world.schedule(7, 'a > b hello', () => {})
  const never = world.run(new Promise(() => {}), { waitingFor: 'b to answer' })
  await expect(never).rejects.toThrow(WorldError)
  await expect(never).rejects.toThrow(
    /at 7 ms nothing is left to happen, waiting for b to answer[\s\S]*7 ms a > b hello/,
  )
})

test('a run gives up after a time or a number of events, and lists the pending events', async () => {
  const world = new World({ seed: 1, eventsMax: 100 })
  const beat = (name: string, ms: number) => world.schedule(ms, name, () => beat(name, ms))
  beat('heartbeat of a', 10)
  beat('heartbeat of b', 10)
  const never = new Promise(() => {})
  await expect(world.run(never, { ...DONE, untilMs: 100 })).rejects.toThrow(
    /it is past 100 ms, waiting for the test to end[\s\S]*1 × heartbeat of a[\s\S]*1 × heartbeat of b/,
  )
  expect([world.clock.now(), world.fired]).toEqual([100, 20])
  await expect(world.run(never, DONE)).rejects.toThrow(/100 events have happened/)
})

test('an infinite time is refused, and so is a second run at the same time', async () => {
  const world = new World({ seed: 1 })
  for (const ms of [-1, Number.NaN, Infinity]) {
    expect(() => world.schedule(ms, 'alarm', () => {})).toThrow(RangeError)
  }
  const first = world.run(world.clock.sleep(1), DONE)
  await expect(world.run(world.clock.sleep(1), DONE)).rejects.toThrow('running already')
  await first
})
