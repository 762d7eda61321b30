import { expect, test } from 'vitest'
import {
  coordinatorOf,
  emptyStages,
  holderOf,
  nextRoster,
  normalRoute,
  sparesOf,
} from '../../src/roster.ts'

const founder = { peer: 'a', addresses: [], stage: null }
const roster = { epoch: 4, committed: 7, members: [founder] }

test('joining, taking a stage and leaving each make the next epoch; the old roster stays as it was', () => {
  const joined = nextRoster(roster, {
    joining: [
      { peer: 'b', addresses: ['/x'], stage: null },
      { peer: 'c', addresses: [], stage: null },
    ],
    assigned: new Map([
      ['a', 0],
      ['b', 1],
    ]),
  })
  expect(joined.epoch).toBe(5)
  expect(joined.committed).toBe(7)
  expect(coordinatorOf(joined).peer).toBe('a')
  expect(holderOf(joined, 1)?.peer).toBe('b')
  expect(sparesOf(joined).map(({ peer }) => peer)).toEqual(['c'])
  expect(emptyStages(joined, 3)).toEqual([2, 3])
  expect(normalRoute(joined, 1)).toEqual([{ stage: 1, peer: 'b' }])

  const left = nextRoster(joined, { leaving: new Set(['b']) })
  expect(left.epoch).toBe(6)
  expect(emptyStages(left, 1)).toEqual([1])
  expect(roster).toEqual({ epoch: 4, committed: 7, members: [founder] })
})
