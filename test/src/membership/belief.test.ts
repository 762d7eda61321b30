/** Whose rosters a peer takes: five voters, of which `coordinator` coordinates, and `self` asks the others. */
import { describe, expect, test } from 'vitest'
import type { Roster } from '../../../protocols/membership.ts'
import type { Network } from '../../../protocols/network.ts'
import { Acceptor } from '../../../src/membership/acceptor.ts'
import { Belief, type Role } from '../../../src/membership/belief.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'

const NAMES = ['coordinator', 'self', 'a', 'b', 'c'] as const

const ROSTER: Roster = (() => {
  const founder = { peer: 'coordinator', session: 1, addresses: [], domain: '' }
  const roster = foundingRoster(founder)
  const members = NAMES.map((peer, id) => ({ ...roster.members[0]!, id, peer, stage: id }))
  return { ...roster, nextId: 5, members }
})()

/** @param says what each member says of any peer; one that is left out does not answer */
function beliefOf(
  says: Partial<Record<string, Role>>,
  hears: boolean,
  roster: Roster | null = ROSTER,
) {
  const asked: string[] = []
  const network = {
    self: 'self',
    call: async (peer: string) => {
      asked.push(peer)
      if (says[peer] === undefined) throw new Error('no answer')
      return { header: { role: says[peer] } }
    },
  } as unknown as Network
  const acceptor = roster === null ? null : new Acceptor(roster)
  const belief = new Belief({
    network,
    clock: { now: () => 0, sleep: async () => {} },
    runId: 'a'.repeat(64),
    signal: new AbortController().signal,
    acceptor: () => acceptor,
    hearsCoordinator: () => hears,
  })
  return { belief, asked, acceptor }
}

const all = (role: Role) => ({ coordinator: role, a: role, b: role, c: role })

describe('a member that hears its coordinator', () => {
  test('believes the coordinator, and asks nobody', async () => {
    const { belief, asked } = beliefOf({}, true)
    expect(await belief.believes('coordinator')).toBe(true)
    expect(asked).toEqual([])
  })

  test('believes a member that got its promise, until the next roster', async () => {
    const { belief, acceptor } = beliefOf(all('member'), true)
    acceptor!.promise({ run: '', ballot: { round: 1, id: 2 }, epoch: 0 }, null)
    expect(await belief.believes('a')).toBe(true)
    acceptor!.adopt({ ...ROSTER, epoch: 1 })
    expect(await belief.believes('a')).toBe(false)
  })

  test.each([
    ['a quorum calls the coordinator', 'a', { b: 'coordinator', c: 'coordinator' }, true],
    ['one other member calls the coordinator', 'a', { b: 'coordinator' }, false],
    ['nobody calls the coordinator', 'a', all('member'), false],
    [
      'a quorum calls the coordinator, though no roster here names it',
      'new',
      all('coordinator'),
      true,
    ],
    ['two of five call the coordinator', 'new', { a: 'coordinator', b: 'coordinator' }, false],
    ['no roster names', 'guest', all('none'), false],
  ] as const)('decides about a peer that %s', async (_, peer, says, believes) => {
    expect(await beliefOf(says, true).belief.believes(peer)).toBe(believes)
  })

  test('asks no voter again and again about one peer', async () => {
    const { belief, asked } = beliefOf(all('none'), true)
    await Promise.all(Array.from({ length: 100 }, () => belief.believes('guest')))
    expect(asked.length).toBeLessThanOrEqual(12)
  })
})

describe('a member that hears no coordinator', () => {
  test('believes a member: the majority may be gone', async () => {
    expect(await beliefOf({}, false).belief.believes('a')).toBe(true)
  })
  test('does not believe a peer that is no member', async () => {
    expect(await beliefOf({}, false).belief.believes('guest')).toBe(false)
  })
  test('does not believe a member that a quorum contradicts', async () => {
    expect(await beliefOf(all('member'), false).belief.believes('a')).toBe(false)
  })
  test('takes the word of a member for a later epoch of its own coordinator', async () => {
    expect(await beliefOf({}, false).belief.believes('coordinator', 'b')).toBe(true)
    expect(await beliefOf({}, false).belief.believes('coordinator', 'guest')).toBe(false)
  })
})

describe('a peer in no roster', () => {
  test('believes whom it asked to be let in, and those that they call the coordinator', async () => {
    const { belief } = beliefOf({ sponsor: 'coordinator' }, false, null)
    expect(await belief.believes('a')).toBe(false)
    belief.asksToEnter('sponsor')
    expect(await belief.believes('sponsor')).toBe(true)
    expect(await belief.believes('a')).toBe(true)
  })
  test('does not believe a member that they do not call so', async () => {
    const { belief } = beliefOf({ sponsor: 'member' }, false, null)
    belief.asksToEnter('sponsor')
    expect(await belief.believes('a')).toBe(false)
  })
})

describe('a member that lies about rounds', () => {
  test('does not use up all ballots', () => {
    const acceptor = new Acceptor(ROSTER)
    const huge = { run: '', ballot: { round: 2 ** 52, id: 2 }, epoch: 0 }
    expect(acceptor.promise(huge, null)).toMatchObject({ promised: false })
    const change = {
      type: 'rollback' as const,
      coordinator: 2,
      ballot: huge.ballot,
      step: 0,
      reason: '',
    }
    expect(() => acceptor.propose({ ...huge, epoch: 1, change }, null)).toThrow(/far too high/)
    acceptor.observe(huge.ballot)
    const { round } = acceptor.nextBallot(1)
    const other = new Acceptor(ROSTER)
    const asked = { run: '', ballot: { round, id: 1 }, epoch: 0 }
    expect(other.promise(asked, null)).toMatchObject({ promised: true })
  })

  test('gets no proposal accepted while the coordinator is heard', () => {
    const acceptor = new Acceptor(ROSTER)
    const change = {
      type: 'members' as const,
      coordinator: 2,
      ballot: { round: 1, id: 2 },
      join: [],
      leave: [0],
      assign: [],
      restart: true,
      reason: '',
    }
    const question = { run: '', ballot: change.ballot, epoch: 1, change }
    expect(() => acceptor.propose(question, 'the coordinator is heard of here')).toThrow(/heard/)
    expect(acceptor.hasPromised(2)).toBe(false)
    // The coordinator itself goes on under its own ballot.
    const own = { ...question, ballot: ROSTER.ballot, change: { ...change, ballot: ROSTER.ballot } }
    expect(acceptor.propose(own, 'the coordinator is heard of here')).toMatchObject({
      accepted: true,
    })
  })
})
