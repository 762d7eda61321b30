/** A coordinator that looks for other incarnations of the run, or meets one. */
import { expect, test } from 'vitest'
import { Meeting } from '../../../src/coordinator/meeting.ts'
import { Deposed } from '../../../src/membership/agreement.ts'
import { Incarnation } from '../../../src/membership/incarnation.ts'
import { createPartContext } from './part-context.ts'

test('a coordinator that is deposed meanwhile yields nothing, and its error reaches nobody', async () => {
  const { agreement, calls } = createPartContext([0, 1, 2])
  const over = new AbortController()
  const went: unknown[] = []
  const meeting = new Meeting({
    ...agreement,
    signal: over.signal,
    run: { stages: 2 },
    incarnation: new Incarnation('a'.repeat(64)),
    founding: { isWaiting: false },
    superseded: (...to) => went.push(to),
  })
  const unhandled: unknown[] = []
  const note = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', note)
  meeting.met({
    run: agreement.runId,
    incarnation: 'b'.repeat(64),
    committed: 7,
    coordinator: { peer: 'peer-9', addresses: [] },
  })
  expect(calls.map(({ peer }) => peer)).toEqual(['peer-9'])
  over.abort(new Deposed(null, 'epoch 5 names peer-1'))
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
  expect(went).toEqual([])
})

test.each([
  [
    'a stage has no holder, the lost members are asked for their incarnation',
    [0, null, null],
    ['peer-9'],
  ],
  ['every stage has a holder, they are not', [0, 1, 2], []],
])('while %s', async (_, stages, asked) => {
  const { agreement, members, calls } = createPartContext(stages)
  const over = new AbortController()
  const looked = Promise.withResolvers<void>()
  let pauses = 0
  const meeting = new Meeting({
    ...agreement,
    network: { ...agreement.network, forget: () => {}, onFound: () => () => {} },
    // The first pause ends at once, and the second one never.
    clock: { ...agreement.clock, sleep: () => (pauses++ === 0 ? Promise.resolve() : never) },
    signal: over.signal,
    run: { stages: 2 },
    incarnation: new Incarnation('a'.repeat(64)),
    founding: { isWaiting: false },
    superseded: () => {},
  })
  const never = new Promise<void>(() => {})
  meeting.parted({ ...members[1]!, id: 9, peer: 'peer-9' })
  void meeting.run()
  setImmediate(looked.resolve)
  await looked.promise
  expect(calls.map(({ peer }) => peer)).toEqual(asked)
})

test.each([
  ['lacks a holder', [0, null, null], true],
  ['is whole', [0, 1, 2], false],
])(
  'a coordinator whose pipeline %s asks the peers that it sees: their addresses may be new',
  async (_, stages, asks) => {
    const { agreement, calls } = createPartContext(stages)
    const over = new AbortController()
    const looked = Promise.withResolvers<void>()
    const dialled: string[] = []
    let pauses = 0
    const never = new Promise<void>(() => {})
    const meeting = new Meeting({
      ...agreement,
      network: {
        ...agreement.network,
        onFound: (listener) => {
          for (const peer of ['peer-1', 'peer-7']) listener(peer)
          return () => {}
        },
        connect: async (address) => {
          dialled.push(address)
          return 'peer-8'
        },
      },
      clock: { ...agreement.clock, sleep: () => (pauses++ === 0 ? Promise.resolve() : never) },
      signal: over.signal,
      run: { stages: 2 },
      incarnation: new Incarnation('a'.repeat(64)),
      founding: { isWaiting: false },
      places: () => ['sim://peer-8/2'],
      superseded: () => {},
    })
    void meeting.run()
    setImmediate(looked.resolve)
    await looked.promise
    // A member is not asked: peer-1 is in the roster.
    expect(calls.map(({ peer }) => peer)).toEqual(asks ? ['peer-7', 'peer-8'] : [])
    expect(dialled).toEqual(asks ? ['sim://peer-8/2'] : [])
  },
)
