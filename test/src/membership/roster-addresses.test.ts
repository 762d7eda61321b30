/** The addresses that the network knows are those of the roster. */
import { beforeEach, expect, test } from 'vitest'
import type { Change } from '../../../protocols/agreement.ts'
import type { Member, Roster } from '../../../protocols/membership.ts'
import type { Network } from '../../../protocols/network.ts'
import { applyChange, foundingRoster } from '../../../src/membership/roster.ts'
import { RosterAddresses } from '../../../src/membership/roster-addresses.ts'

let ended: string[]
let known: Map<string, readonly string[]>
let addresses: RosterAddresses
beforeEach(() => {
  known = new Map()
  ended = []
  addresses = new RosterAddresses({
    learn: (peer: string, at: readonly string[]) => known.set(peer, at),
    forget: (peer: string) => known.delete(peer),
    disconnect: (peer: string) => ended.push(peer),
  } as unknown as Network)
})

const entry = (peer: string, at = `at-${peer}`): Omit<Member, 'id' | 'stage' | 'ready'> => ({
  peer,
  session: 1,
  addresses: [at],
  domain: '',
  host: '',
})

const changed = (join: string[], leave: number[]): Change => ({
  type: 'members',
  coordinator: 0,
  ballot: { round: 0, id: 0 },
  join: join.map((peer) => entry(peer)),
  leave,
  assign: [],
  restart: false,
  reason: 'test',
})

/** The addresses of this roster, as the network should know them. */
const of = ({ members }: Roster) => new Map(members.map((each) => [each.peer, each.addresses]))

test('follow the roster change by change', () => {
  let before: Roster | null = null
  let roster = foundingRoster(entry('a'))
  addresses.follow(null, roster, null)
  for (const change of [changed(['b', 'c'], []), changed(['d'], [1]), changed(['b'], [2, 3])]) {
    before = roster
    roster = applyChange(roster, change)
    addresses.follow(before, roster, change)
    expect(known).toEqual(of(roster))
  }
  expect([...known.keys()].toSorted()).toEqual(['a', 'b'])
})

test('keep those of a peer that was replaced by another process of the same name', () => {
  const roster = applyChange(foundingRoster(entry('a')), changed(['b'], []))
  addresses.follow(null, roster, null)
  const change = changed(['b'], [1])
  addresses.follow(roster, applyChange(roster, change), change)
  expect([...known.keys()]).toEqual(['a', 'b'])
})

test('are those of a roster that was fetched whole, after this peer had dropped out', () => {
  const first = applyChange(foundingRoster(entry('a')), changed(['b', 'c'], []))
  addresses.follow(null, first, null)
  const change = changed(['d'], [1])
  const later = { ...applyChange(first, change), epoch: 9 }
  const moved: Roster = {
    ...later,
    members: later.members.map((each) =>
      each.peer === 'c' ? { ...each, ...entry('c', 'x') } : each,
    ),
  }
  addresses.follow(null, moved, change)
  expect(known).toEqual(of(moved))
})

test('change with those of a member that has moved, and the connection to its old address ends', () => {
  const roster = applyChange(foundingRoster(entry('a')), changed(['b', 'c', 'd'], []))
  addresses.follow(null, roster, null)
  const move = [
    { id: 1, addresses: ['elsewhere'] },
    { id: 2, addresses: ['at-c', 'also-here'] },
  ]
  const change = { ...changed(['e'], []), move } as Change
  const after = applyChange(roster, change)
  addresses.follow(roster, after, change)
  expect(known).toEqual(of(after))
  expect(known.get('b')).toEqual(['elsewhere'])
  expect(ended).toEqual(['b'])
})
