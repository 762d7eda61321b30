/** Rosters: the changes that make the next epoch, quorums, and decoding. */
import { deflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Change } from '../../../protocols/agreement.ts'
import { decodeRoster, ROSTER_BYTES, type Roster } from '../../../protocols/membership.ts'
import {
  applyChange,
  coordinatorOf,
  emptyStages,
  foundingRoster,
  holdersOf,
  isQuorum,
  isRestored,
  newcomersOf,
  sparesOf,
  votersOf,
} from '../../../src/membership/roster.ts'

const newcomer = (peer: string) => ({ peer, session: 1, addresses: ['/x'], domain: '', host: '' })
const founded = foundingRoster(newcomer('a'))
const author = { coordinator: 0, ballot: { round: 0, id: 0 } }

function members(change: Partial<Extract<Change, { type: 'members' }>>): Change {
  const none = { join: [], leave: [], assign: [], restart: false, reason: 'test' }
  return { type: 'members', ...author, ...none, ...change }
}

test('joining, taking a stage and leaving each make the next epoch, and no id is used twice', () => {
  const joined = applyChange(founded, members({ join: [newcomer('b'), newcomer('c')] }))
  expect(joined.members.map(({ id }) => id)).toEqual([0, 1, 2])
  const placed = applyChange(
    joined,
    members({
      assign: [
        { id: 0, stage: 0, ready: true },
        { id: 1, stage: 1, ready: true },
      ],
    }),
  )
  expect(placed.epoch).toBe(2)
  expect(coordinatorOf(placed).peer).toBe('a')
  expect(holdersOf(placed, 1).map(({ peer }) => peer)).toEqual(['b'])
  expect(sparesOf(placed).map(({ peer }) => peer)).toEqual(['c'])
  expect(emptyStages(placed, 3)).toEqual([2, 3])

  const left = applyChange(placed, members({ leave: [1], join: [newcomer('b')] }))
  expect(left.members.map(({ id, peer }) => `${peer}${id}`)).toEqual(['a0', 'c2', 'b3'])
  expect(emptyStages(left, 1)).toEqual([1])
  expect(founded.members).toHaveLength(1)
})

test('newcomers are the members that the earlier roster did not name, also if others have left', () => {
  const joined = applyChange(founded, members({ join: [newcomer('b'), newcomer('c')] }))
  const later = applyChange(joined, members({ leave: [0, 2], join: [newcomer('d')] }))
  const names = (before: Roster | null) => newcomersOf(before, later).map(({ peer }) => peer)
  expect(names(joined)).toEqual(['d'])
  expect(names(founded)).toEqual(['b', 'd'])
  expect(names(null)).toEqual(['b', 'd'])
  expect(names(later)).toEqual([])
})

test('a commit makes the next epoch with the same members, and only a restart moves the fence', () => {
  const change: Change = {
    type: 'commit',
    ...author,
    step: 1,
    learningRate: 0.1,
    norm: 3,
    loss: 2,
    version: 1,
  }
  const committed = applyChange(founded, change)
  expect(committed).toMatchObject({
    epoch: 1,
    fenceEpoch: 0,
    committed: 1,
    learningRate: 0.1,
    norm: 3,
    loss: 2,
  })
  expect(committed.members).toBe(founded.members)
  expect(applyChange(committed, members({})).fenceEpoch).toBe(0)
  expect(applyChange(committed, members({ restart: true })).fenceEpoch).toBe(2)
})

describe('a quorum', () => {
  const rosterOf = (count: number, coordinator: number): Roster => ({
    ...founded,
    coordinator,
    members: Array.from({ length: count }, (_, id) => ({
      ...newcomer(`p${id}`),
      id,
      stage: null,
      ready: true,
    })),
  })

  test('has a member in common with any other quorum, and is at least half of the members', () => {
    const bits = fc.array(fc.boolean(), { minLength: 12, maxLength: 12 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), fc.nat(11), bits, bits, (count, c, a, b) => {
        const roster = rosterOf(count, c % count)
        const [first, second] = [a, b].map(
          (chosen) => new Set(roster.members.filter(({ id }) => chosen[id]).map(({ id }) => id)),
        ) as [Set<number>, Set<number>]
        if (isQuorum(roster, first) && isQuorum(roster, second)) {
          expect([...first].some((id) => second.has(id))).toBe(true)
        }
        if (2 * first.size < count) expect(isQuorum(roster, first)).toBe(false)
        if (2 * first.size > count) expect(isQuorum(roster, first)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  test('can be exactly half of the members if the coordinator is one of them; ids of others do not count', () => {
    const roster = rosterOf(4, 2)
    expect(isQuorum(roster, new Set([0, 2]))).toBe(true)
    expect(isQuorum(roster, new Set([0, 1]))).toBe(false)
    expect(isQuorum(roster, new Set([0, 7, 8, 9]))).toBe(false)
  })

  test('is all the holders, however many spares there are: four vanished spares of seven cost no majority', () => {
    const stages = fc.array(fc.option(fc.nat(3)), { minLength: 2, maxLength: 12 })
    fc.assert(
      fc.property(stages, fc.nat(11), (held, c) => {
        const members = rosterOf(held.length, 0).members.map((member, id) => ({
          ...member,
          stage: held[id]!,
        }))
        const roster = { ...rosterOf(held.length, c % held.length), members }
        const holders = new Set(members.flatMap(({ id, stage }) => (stage === null ? [] : id)))
        const voters = votersOf(roster)
        expect(voters.has(roster.coordinator)).toBe(true)
        if (holders.size > 1) expect(isQuorum(roster, holders)).toBe(true)
        if (holders.size === 0) expect(voters.size).toBe(members.length)
        const all = new Set(members.map(({ id }) => id))
        expect(isQuorum(roster, all)).toBe(true)
        // A quorum and its complement are never both quorums.
        for (const { id } of members) {
          const without = new Set([...all].filter((each) => each !== id))
          if (isQuorum(roster, new Set([id]))) expect(isQuorum(roster, without)).toBe(false)
        }
      }),
      { numRuns: 1000 },
    )
    const seven = [0, 1, 2, null, null, null, null]
    const members = rosterOf(7, 0).members.map((member, id) => ({ ...member, stage: seven[id]! }))
    expect([...votersOf({ ...rosterOf(7, 0), members })]).toEqual([0, 1, 2, 3, 4])
    expect([...votersOf({ ...rosterOf(7, 6), members })]).toEqual([0, 1, 2, 6, 3])
    expect(isQuorum({ ...rosterOf(7, 0), members }, new Set([0, 1, 2]))).toBe(true)
  })
})

test('after a rollback no member holds a stage, and the values of the last step are reset', () => {
  const joined = applyChange(founded, members({ join: [newcomer('b'), newcomer('c')] }))
  const assign = [
    { id: 0, stage: 0, ready: true },
    { id: 2, stage: 1, ready: false },
  ]
  const placed = { ...applyChange(joined, members({ assign })), committed: 9, loss: 2, norm: 1 }
  const back = applyChange(placed, { type: 'rollback', ...author, step: 5, reason: 'test' })
  expect(back).toMatchObject({ epoch: 3, fenceEpoch: 3, committed: 5, loss: null, norm: 0 })
  expect(back.members.map(({ stage, ready }) => [stage, ready])).toEqual(
    Array(3).fill([null, true]),
  )
  expect(isRestored(back)).toBe(true)
  expect(isRestored(placed)).toBe(false)
})

test('bytes that are not a roster, or inflate to more than the limit, are refused', () => {
  const bomb = deflateRawSync(Buffer.alloc(ROSTER_BYTES + 1, ' '))
  for (const body of [undefined, new Uint8Array([1, 2, 3]), deflateRawSync('{}'), bomb]) {
    expect(() => decodeRoster('b', body)).toThrow('the roster of b is invalid')
  }
})

describe('many names of one network', () => {
  /** Members in the order of joining, each with its network and stage. */
  const rosterOf = (members: readonly (readonly [host: string, stage: number | null])[]) => {
    const roster = foundingRoster(newcomer('p0'))
    const [first] = roster.members
    const entries = members.map(([host, stage], id) => ({
      ...first!,
      id,
      peer: `p${id}`,
      host,
      stage,
    }))
    return { ...roster, nextId: members.length, members: entries }
  }
  const votesOf = (members: Parameters<typeof rosterOf>[0], host: string) => {
    const roster = rosterOf(members)
    return [...votersOf(roster)].filter((id) => roster.members[id]!.host === host).length
  }
  const honest = ['a', 'b', 'c', 'd', 'e'].map((host, stage) => [host, stage] as const)
  const twelve = Array.from({ length: 12 }, (_, i) => ['x', i % 5] as const)

  test('have half of the votes at most, also if all of them hold stages', () => {
    expect(votesOf([...honest, ...twelve], 'x')).toBe(5)
    expect(votersOf(rosterOf([...honest, ...twelve])).size).toBe(10)
  })

  test('are not a quorum without the coordinator, and the others are one with it', () => {
    const roster = rosterOf([...honest, ...twelve])
    const ids = (host: (name: string) => boolean) =>
      new Set(roster.members.filter((member) => host(member.host)).map(({ id }) => id))
    expect(
      isQuorum(
        roster,
        ids((host) => host === 'x'),
      ),
    ).toBe(false)
    expect(
      isQuorum(
        roster,
        ids((host) => host !== 'x'),
      ),
    ).toBe(true)
  })

  test.each([
    [
      'a run on one host',
      [
        ['a', 0],
        ['a', 1],
        ['a', 2],
      ],
      3,
    ],
    [
      'members of which nothing is known',
      [
        ['', 0],
        ['', 1],
        ['', 2],
        ['', 3],
      ],
      4,
    ],
    [
      'three hosts with two processes each',
      [
        ['a', 0],
        ['a', 1],
        ['b', 2],
        ['b', 3],
        ['c', 4],
        ['c', 5],
      ],
      6,
    ],
    [
      'two processes beside one',
      [
        ['a', 0],
        ['b', 1],
        ['b', 2],
      ],
      3,
    ],
    [
      'a founder, and eight members of one network',
      [['', 0], ...Array.from({ length: 8 }, () => ['lan', 1] as const)],
      9,
    ],
    [
      'a host that began alone',
      [
        ['a', 0],
        ['a', 1],
        ['a', 2],
        ['a', 3],
        ['b', 4],
      ],
      5,
    ],
    [
      'late members of a host, once others have come',
      [
        ['a', 0],
        ['b', 1],
        ['b', 2],
        ['b', 3],
        ['c', 4],
        ['d', 5],
      ],
      6,
    ],
  ] as const)('%s: nobody loses a vote', (_, members, voters) => {
    expect(votersOf(rosterOf(members)).size).toBe(voters)
  })

  test('spares of other networks do not get the votes that holders of one network lack', () => {
    const holders = [['a', 0], ['b', 1], ...Array.from({ length: 6 }, () => ['lan', 2] as const)]
    const spares = ['x', 'x', 'y', 'y'].map((host) => [host, null] as const)
    const roster = rosterOf([...holders, ...spares] as Parameters<typeof rosterOf>[0])
    const voting = [...votersOf(roster)].map((id) => roster.members[id]!)
    const count = (holds: boolean) =>
      voting.filter(({ stage }) => (stage !== null) === holds).length
    expect(count(false)).toBeLessThan(count(true))
  })

  test('the coordinator always votes', () => {
    const roster = { ...rosterOf([...honest, ...twelve]), coordinator: 16 }
    expect(votersOf(roster).has(16)).toBe(true)
  })
})
