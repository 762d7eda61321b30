/** What a peer may cost that is refused, or that is no member. */
import { expect, test } from 'vitest'
import type { Network } from '../../../protocols/network.ts'
import { GUEST_BUDGET, OFFENCES, TIMEOUTS } from '../../../src/base/limits.ts'
import { Conduct } from '../../../src/membership/conduct.ts'

function conductOf() {
  let now = 0
  const shunned: [string, number][] = []
  const waits: number[] = []
  const told: unknown[] = []
  const network = { self: 'self', shun: (...args: [string, number]) => shunned.push(args) }
  const conduct = new Conduct({
    network: network as unknown as Network,
    clock: {
      now: () => now,
      sleep: async (ms) => {
        waits.push(ms)
      },
    },
    journal: { write: (entry: unknown) => told.push(entry) } as never,
    signal: new AbortController().signal,
    isMember: (peer) => peer === 'member',
  })
  return { conduct, shunned, waits, told, pass: (ms: number) => (now += ms) }
}

const times = (count: number, act: () => void) => Array.from({ length: count }).forEach(act)

test('a guest that is refused again and again is cut off, and people read it once', () => {
  const { conduct, shunned, told } = conductOf()
  times(OFFENCES.refusals, () => conduct.refused('guest', 'REFUSED'))
  expect(shunned).toEqual([])
  conduct.refused('guest', 'NOT_MEMBER')
  expect(shunned).toEqual([['guest', TIMEOUTS.shunMs]])
  expect(told).toHaveLength(1)
})

test('refusals of a minute count, not those of a day', () => {
  const { conduct, shunned, pass } = conductOf()
  times(20, () => {
    times(OFFENCES.refusals / 2, () => conduct.refused('guest', 'REFUSED'))
    pass(OFFENCES.windowMs)
  })
  expect(shunned).toEqual([])
})

test('what befalls honest peers is no offence: a late roster, a busy peer, a member that is refused', () => {
  const { conduct, shunned } = conductOf()
  times(10_000, () => conduct.refused('guest', 'STALE'))
  times(10_000, () => conduct.refused('guest', 'BUSY'))
  times(10_000, () => conduct.refused('member', 'REFUSED'))
  times(10_000, () => conduct.refused('self', 'REFUSED'))
  expect(shunned).toEqual([])
})

test('a member whose questions are malformed again and again is cut off, too', () => {
  const { conduct, shunned } = conductOf()
  times(OFFENCES.malformed + 1, () => conduct.refused('member', 'BAD_MESSAGE'))
  expect(shunned.map(([peer]) => peer)).toEqual(['member'])
})

test('a guest waits for its turn once it has asked for more than its share, and a member does not', async () => {
  const { conduct, waits } = conductOf()
  const { questions, burstSeconds } = GUEST_BUDGET
  for (let i = 0; i < questions * burstSeconds; i++) await conduct.turn('guest')
  expect(waits).toEqual([])
  for (let i = 0; i < questions; i++) await conduct.turn('guest')
  expect(Math.max(...waits)).toBeCloseTo(1000, -2)
  const before = waits.length
  for (let i = 0; i < 10 * questions * burstSeconds; i++) await conduct.turn('member')
  expect(waits).toHaveLength(before)
})

test('a guest waits after answers of many bytes', async () => {
  const { conduct, waits } = conductOf()
  await conduct.turn('guest')
  conduct.answered('guest', GUEST_BUDGET.bytes * (GUEST_BUDGET.burstSeconds + 2))
  await conduct.turn('guest')
  expect(waits).toEqual([2000])
})

test('a guest that has sent too many bytes is refused until it has waited', () => {
  const { conduct, pass } = conductOf()
  conduct.takesBody('guest', GUEST_BUDGET.sent * (GUEST_BUDGET.burstSeconds + 1))
  expect(() => conduct.takesBody('guest', 1)).toThrow(/too much/)
  expect(() => conduct.takesBody('member', 1)).not.toThrow()
  pass(1500)
  expect(() => conduct.takesBody('guest', 1)).not.toThrow()
})
