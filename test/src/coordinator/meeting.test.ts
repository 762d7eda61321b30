/** A coordinator that looks for other incarnations of the run, or meets one. */
import { expect, test } from 'vitest'
import { Meeting } from '../../../src/coordinator/meeting.ts'
import type { Acceptor } from '../../../src/membership/acceptor.ts'
import { Deposed } from '../../../src/membership/agreement.ts'
import { Incarnation } from '../../../src/membership/incarnation.ts'
import { Parted } from '../../../src/membership/parted.ts'
import { createPartContext } from './part-context.ts'

/** The coordinator's incarnation has made steps, so that it has something to lose. */
function withSteps({ acceptor }: { readonly acceptor: Acceptor }): void {
  acceptor.adopt({ ...acceptor.roster, epoch: acceptor.roster.epoch + 1, committed: 3 })
}

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
    parted: new Parted(),
    superseded: (...to) => went.push(to),
  })
  const unhandled: unknown[] = []
  const note = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', note)
  // A member tells of another incarnation.
  meeting.met('peer-1', {
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
  const { roster } = agreement.acceptor
  const parted = new Parted()
  const gone = { ...members[0]!, id: 9, peer: 'peer-9' }
  parted.follow({ ...roster, members: [...roster.members, gone] }, roster)
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
    parted,
    superseded: () => {},
  })
  const never = new Promise<void>(() => {})
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
      parted: new Parted(),
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

test('the word of a peer that was never a member does not count, nor what it says of others', async () => {
  const { agreement, members, calls } = createPartContext([0, 1, 2])
  withSteps(agreement)
  const { roster } = agreement.acceptor
  const parted = new Parted()
  const gone = { ...members[1]!, id: 9, peer: 'peer-9' }
  parted.follow({ ...roster, members: [...roster.members, gone] }, roster)
  const meeting = new Meeting({
    ...agreement,
    run: { stages: 2 },
    incarnation: new Incarnation('a'.repeat(64)),
    founding: { isWaiting: false },
    parted,
    superseded: () => {},
  })
  const said = (peer: string) => ({
    run: agreement.runId,
    incarnation: 'b'.repeat(64),
    committed: 1_000_000,
    coordinator: { peer, addresses: [] },
  })
  meeting.met('guest', said('guest'))
  meeting.met('guest', said('peer-9'))
  expect(calls).toEqual([])
  // A peer that was a member calls another one the coordinator of its incarnation.
  meeting.met('peer-9', said('peer-8'))
  expect(calls.map(({ peer }) => peer)).toEqual(['peer-8'])
})

test('an incarnation that makes steps is not over, whoever has said so', () => {
  const { agreement, calls } = createPartContext([0, 1, 2])
  const meeting = new Meeting({
    ...agreement,
    run: { stages: 2 },
    incarnation: new Incarnation('a'.repeat(64)),
    founding: { isWaiting: false },
    parted: new Parted(),
    superseded: () => {},
  })
  const { committed } = agreement.acceptor.roster
  const other = { incarnation: 'b'.repeat(64), coordinator: { peer: 'peer-9', addresses: [] } }
  meeting.supersede({ incarnation: other.incarnation, committed: 0 })
  meeting.met('peer-1', { run: agreement.runId, ...other, committed: committed + 5 })
  expect(calls.map(({ peer }) => peer)).toEqual(['peer-9'])
})

test('what a peer says whose word does not count makes the coordinator ask those whose word does', async () => {
  const { agreement, members, calls } = createPartContext([0, 1, 2])
  withSteps(agreement)
  const { roster } = agreement.acceptor
  const parted = new Parted()
  const gone = { ...members[0]!, id: 9, peer: 'peer-9' }
  parted.follow({ ...roster, members: [...roster.members, gone] }, roster)
  let pauses = 0
  const never = new Promise<void>(() => {})
  const looked = Promise.withResolvers<void>()
  const meeting = new Meeting({
    ...agreement,
    network: { ...agreement.network, forget: () => {}, onFound: () => () => {} },
    clock: { ...agreement.clock, sleep: () => (pauses++ === 0 ? Promise.resolve() : never) },
    run: { stages: 2 },
    incarnation: new Incarnation('a'.repeat(64)),
    founding: { isWaiting: false },
    parted,
    superseded: () => {},
  })
  const coordinator = { peer: 'guest', addresses: [] }
  meeting.met('guest', { run: '', incarnation: 'b'.repeat(64), committed: 9, coordinator })
  void meeting.run()
  setImmediate(looked.resolve)
  await looked.promise
  expect(calls.map(({ peer }) => peer)).toEqual(['peer-9'])
})

test('before its first step a coordinator takes the word of any peer', () => {
  const { agreement, calls } = createPartContext([0, null, null])
  const meeting = new Meeting({
    ...agreement,
    run: { stages: 2 },
    incarnation: new Incarnation('a'.repeat(64)),
    founding: { isWaiting: false },
    parted: new Parted(),
    superseded: () => {},
  })
  const coordinator = { peer: 'peer-9', addresses: [] }
  meeting.met('peer-9', { run: '', incarnation: 'b'.repeat(64), committed: 9, coordinator })
  expect(calls.map(({ peer }) => peer)).toEqual(['peer-9'])
})
