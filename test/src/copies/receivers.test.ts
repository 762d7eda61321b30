/** The keepers that get a copy: those that lack one at once, the others in turn. */
import { expect, test } from 'vitest'
import type { Member } from '../../../protocols/membership.ts'
import { COPY_ATTEMPTS } from '../../../src/base/limits.ts'
import { type Given, givenAfter, receiversOf } from '../../../src/copies/receivers.ts'
import type { CopyRule } from '../../../src/recovery/strategy.ts'

const EVERY = 4
const STAGE = 3

const member = (id: number): Member => ({
  ...{
    id,
    peer: `p${id}`,
    session: 0,
    addresses: [],
    domain: '',
    host: '',
    stage: id,
    ready: true,
  },
})
const rule: CopyRule = {
  applies: () => true,
  everySteps: () => EVERY,
  maxAge: () => 2 * EVERY,
  form: { weights: 'int8', moments: null },
  shards: { data: 1, parity: 0 },
  inTurn: true,
  keepers: () => [],
}

/** Commits steps `from` to `to`. @returns for each step the ids of the keepers that got a copy */
function play(
  given: { now: ReadonlyMap<number, Given> },
  keepers: readonly Member[],
  [from, to]: readonly [number, number],
  { fails = [] as readonly number[], of = rule } = {},
): number[][] {
  return Array.from({ length: to - from + 1 }, (_, i) => {
    const step = from + i
    const receivers = receiversOf(of, { stage: STAGE, step, isNew: true }, keepers, given.now)
    const took = receivers.filter(({ id }) => !fails.includes(id))
    if (receivers.length > 0) given.now = givenAfter(given.now, step, keepers, receivers, took)
    return receivers.map(({ id }) => id)
  })
}

test('keepers get a copy at once, and then in turn when one is due', () => {
  const given = { now: new Map<number, Given>() }
  const keepers = [member(5), member(6), member(7)]
  expect(play(given, keepers, [1, 13])).toEqual([
    [5, 6, 7],
    ...[[], [], [], [5], [], [], [], [6], [], [], [], [7]],
  ])
})

test('a new keeper gets a copy at once, also between two steps', () => {
  const given = { now: new Map<number, Given>() }
  play(given, [member(5), member(6)], [1, 3])
  const keepers = [member(5), member(8)]
  const copied = { stage: STAGE, step: 3, isNew: false }
  expect(receiversOf(rule, copied, keepers, given.now)).toEqual([member(8)])
  const known = [member(5), member(6)]
  expect(receiversOf(rule, { ...copied, step: 5 }, known, given.now)).toEqual([])
})

test('a keeper that takes no copy is tried again a few times, and then holds nobody up', () => {
  const given = { now: new Map<number, Given>() }
  const keepers = [member(5), member(6)]
  const tried = play(given, keepers, [1, 60], { fails: [6] }).flat()
  expect(tried.slice(0, COPY_ATTEMPTS + 1)).toEqual([5, ...Array(COPY_ATTEMPTS).fill(6)])
  expect(tried.filter((id) => id === 5).length).toBeGreaterThan(5)
  expect(tried.filter((id) => id === 6).length).toBeLessThan(COPY_ATTEMPTS + 10)
})

test('shards of one step go to all keepers, also if only one lacks its shard', () => {
  const of = { ...rule, inTurn: false, shards: { data: 2, parity: 1 } }
  const given = { now: new Map<number, Given>() }
  play(given, [member(4), member(5), member(6)], [1, 1], { of })
  const keepers = [member(4), member(5), member(7)]
  expect(play(given, keepers, [2, 5], { of })).toEqual([[4, 5, 7], [], [], [4, 5, 7]])
})
