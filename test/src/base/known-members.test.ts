/** The members that a peer knew last, in memory and on disk. */
import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Member, Roster } from '../../../protocols/membership.ts'
import { World } from '../../../sim/world/world.ts'
import { MembersInMemory, MembersOnDisk } from '../../../src/base/known-members.ts'
import { KNOWN_MEMBERS_MAX, KNOWN_MEMBERS_MS } from '../../../src/base/limits.ts'
import { foundingRoster } from '../../../src/membership/roster.ts'
import { temporaryFolder } from '../../fixtures/folder.ts'

function rosterOf(peers: readonly string[], coordinator = 0): Roster {
  const members = peers.map((peer, id): Member => {
    return {
      id,
      peer,
      session: 1,
      addresses: [`/${peer}`],
      domain: '',
      host: '',
      stage: null,
      ready: true,
    }
  })
  return { ...foundingRoster(members[0]!), nextId: members.length, coordinator, members }
}

/** A peer `a` that keeps its members in a folder. */
function onDisk(others: readonly string[] = []) {
  const folder = temporaryFolder()
  const path = join(folder, 'members.json')
  const world = new World({ seed: 1 })
  const failures: string[] = []
  const open = () =>
    new MembersOnDisk({
      self: 'a',
      path,
      others,
      clock: world.clock,
      failed: (message) => failures.push(message),
    })
  const pass = (ms: number) => world.run(world.clock.sleep(ms), { waitingFor: 'time' })
  const written = () => readFileSync(path, 'utf8')
  return { folder, path, open, pass, written, failures }
}

const names = (members: MembersInMemory | MembersOnDisk) => members.list().map(({ peer }) => peer)

test('the coordinator comes first, the peer itself is left out, and the list is bounded', () => {
  const members = new MembersInMemory('a')
  members.keep(rosterOf(['a', 'b', 'c', 'd'], 2))
  expect(names(members)).toEqual(['c', 'b', 'd'])
  const many = Array.from({ length: 2 * KNOWN_MEMBERS_MAX }, (_, i) => `peer-${i}`)
  members.keep(rosterOf(many))
  expect(names(members)).toEqual(many.slice(0, KNOWN_MEMBERS_MAX))
})

test('a roster of the peer alone does not replace members who can be asked', () => {
  const members = new MembersInMemory('a', [{ peer: 'b', addresses: [] }])
  members.keep(rosterOf(['a']))
  expect(names(members)).toEqual(['b'])
})

test('the next process finds the members of the last roster', () => {
  const { open } = onDisk()
  const first = open()
  first.keep(rosterOf(['a', 'b', 'c']))
  expect(open().list()).toEqual([
    { peer: 'b', addresses: ['/b'] },
    { peer: 'c', addresses: ['/c'] },
  ])
})

test('a burst of changes makes two writes, and a commit makes none', async () => {
  const { open, pass, written } = onDisk()
  const members = open()
  members.keep(rosterOf(['a', 'b']))
  const first = written()
  const last = rosterOf(['a', 'b', 'c', 'd'])
  for (const roster of [rosterOf(['a', 'b', 'c']), last]) members.keep(roster)
  expect(written()).toBe(first)
  await pass(KNOWN_MEMBERS_MS)
  expect(written()).toMatch(/"d"/)
  await pass(KNOWN_MEMBERS_MS)
  // A commit makes a roster with the same array of members.
  members.keep({ ...last, committed: 1 })
  expect(names(open())).toEqual(['b', 'c', 'd'])
})

test('closing writes a change that was still due', () => {
  const { open } = onDisk()
  const members = open()
  members.keep(rosterOf(['a', 'b']))
  members.keep(rosterOf(['a', 'c']))
  members.close()
  expect(names(open())).toEqual(['c'])
})

test('a fresh process reads the files of the other peers of its machine, the latest first', () => {
  const folder = temporaryFolder()
  const others = ['1', '2', '3'].map((name, seconds) => {
    const path = join(folder, name)
    const members = [{ peer: `peer-${name}`, addresses: [] }]
    writeFileSync(path, name === '3' ? '{"members": [' : JSON.stringify({ members }))
    utimesSync(path, seconds, seconds)
    return path
  })
  expect(names(onDisk(others).open())).toEqual(['peer-2', 'peer-1'])
})

test('a file that cannot be written is told once, and the members stay in memory', async () => {
  const { path, open, pass, failures } = onDisk()
  mkdirSync(path)
  const members = open()
  members.keep(rosterOf(['a', 'b']))
  await pass(KNOWN_MEMBERS_MS)
  members.keep(rosterOf(['a', 'c']))
  expect(failures).toEqual([expect.stringMatching(/cannot be kept.*--bootstrap/)])
  expect(names(members)).toEqual(['c'])
})
