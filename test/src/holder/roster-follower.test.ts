/** What a member began in one incarnation of the run ends there: nothing of it goes out under the id of another one. */
import { expect, test } from 'vitest'
import type { Change } from '../../../protocols/agreement.ts'
import * as agreement from '../../../protocols/agreement.ts'
import { ProtocolError } from '../../../protocols/errors.ts'
import type { Member } from '../../../protocols/membership.ts'
import type { Json, Network } from '../../../protocols/network.ts'
import { createJournal } from '../../../src/base/journal.ts'
import { RosterFollower } from '../../../src/holder/roster-follower.ts'
import { choose, Deposed } from '../../../src/membership/agreement.ts'
import { Incarnation } from '../../../src/membership/incarnation.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'
import { takeOver } from '../../../src/membership/succession.ts'

const RUN = 'a'.repeat(64)
const lineage = {
  record: { number: 1, ancestor: RUN, step: 0, roster: 'b'.repeat(64) },
  absent: [],
  branches: [],
}
const newcomer = (peer: string) => ({ peer, session: 1, addresses: [], domain: '', host: '' })
const members = [0, 1, 2].map(
  (id): Member => ({ ...newcomer(`p${id}`), id, stage: null, ready: true }),
)
const roster = { ...foundingRoster(newcomer('p0')), nextId: 3, members }

/** The follower of a member that enters another incarnation as soon as `p2` is asked. */
function followerOf(self: string) {
  const incarnation = new Incarnation(RUN)
  const asked: { protocol: string; peer: string }[] = []
  const raw = {
    self,
    addresses: [],
    learn: () => {},
    forget: () => {},
    call: async (peer: string, protocol: string, _: { header: Json }) => {
      asked.push({ protocol, peer })
      if (peer !== 'p2') throw new ProtocolError('TIMEOUT', 'lost')
      incarnation.enter(lineage)
      throw new ProtocolError('STALE', 'in no roster')
    },
  } as unknown as Network
  const { signal } = new AbortController()
  const follower = new RosterFollower({
    runId: RUN,
    network: incarnation.over(raw),
    clock: { now: () => 0, sleep: async () => {} },
    journal: createJournal(self, () => 0, []),
    signal,
    start: { session: 1, roster },
    belief: { believes: async () => true },
    incarnation,
    carryOut: async () => null,
    dropped: async () => {},
    minority: async () => {
      if (asked.length > 20) throw new Error('the proposal goes on for ever')
    },
  })
  return { asked, options: follower.agreement(signal) }
}

test('a candidate that enters another incarnation sends its old roster to nobody', async () => {
  const { asked, options } = followerOf('p1')
  const outcome = await takeOver(options, members[1]!, 'the coordinator is lost')
  expect(outcome.result).toBe('refused')
  expect(asked.map(({ peer }) => peer)).toContain('p2')
  expect(new Set(asked.map(({ protocol }) => protocol))).toEqual(
    new Set([agreement.promise.protocol]),
  )
})

test('a coordinator that enters another incarnation proposes its change to nobody any more', async () => {
  const { asked, options } = followerOf('p0')
  const change: Change = {
    type: 'members',
    coordinator: 0,
    ballot: roster.ballot,
    join: [],
    leave: [1],
    assign: [],
    restart: false,
    reason: 'test',
  }
  await expect(choose(options, roster, roster.ballot, change)).rejects.toThrow(Deposed)
  expect(asked.map(({ peer }) => peer)).toEqual(['p0', 'p1', 'p2'])
  expect(asked.every(({ protocol }) => protocol === agreement.propose.protocol)).toBe(true)
})
