/** How peers find, found and enter a run again, in virtual time. */
import { describe, expect, test } from 'vitest'
import { InputError } from '../../src/base/errors.ts'
import { MembersInMemory } from '../../src/base/known-members.ts'
import { SearchingSwarm, searchedRun } from '../fixtures/searching-swarm.ts'
import { entriesOf } from '../fixtures/swarm.ts'

const RUN = searchedRun(1, 30)
/** A run that does not end within a test. */
const LONG = searchedRun(1, 100_000)

/** Members as an earlier process of `name` knew them. */
function knew(name: string, others: readonly string[]): MembersInMemory {
  const earlier = others.map((peer) => ({ peer, addresses: [`sim://${peer}`] }))
  return new MembersInMemory(name, earlier)
}

describe('a peer that was in the run', () => {
  test('finds it by its last members when its bootstrap address is dead', async () => {
    const swarm = new SearchingSwarm(LONG)
    swarm.join('a')
    for (const name of ['b', 'c', 'd']) swarm.join(name, { bootstrap: ['sim://a'] })
    await swarm.pass(10_000)
    swarm.kill('a')
    await swarm.pass(20_000)
    swarm.kill('d')
    await swarm.pass(5_000)
    const back = swarm.world.clock.now()
    const knownMembers = knew('d', ['a', 'b', 'c'])
    swarm.join('d', { bootstrap: ['sim://a'], claim: 'never', knownMembers })
    await swarm.pass(10_000)
    const joined = entriesOf(swarm.entries, 'joined').filter(({ at }) => at > back)
    expect(joined.map(({ peer }) => peer)).toEqual(['d'])
    expect(swarm.founders).toEqual(['a'])
  })

  test('finds it again after it was dropped, though it founded the run and has no address of its own', async () => {
    const swarm = new SearchingSwarm(LONG)
    swarm.join('a')
    for (const name of ['b', 'c', 'd']) swarm.join(name, { bootstrap: ['sim://a'] })
    await swarm.pass(10_000)
    const heal = swarm.network.disturb((from, to) =>
      from === 'a' || to === 'a' ? 'blocked' : undefined,
    )
    await swarm.pass(60_000)
    heal()
    const healed = swarm.world.clock.now()
    await swarm.pass(30_000)
    const joined = entriesOf(swarm.entries, 'joined').filter(({ at }) => at > healed)
    expect(joined.map(({ peer }) => peer)).toEqual(['a'])
    expect(swarm.founders).toEqual(['a'])
  })

  test('finds it after a split whose other side had its only bootstrap address', async () => {
    const swarm = new SearchingSwarm(LONG)
    swarm.join('a')
    for (const name of ['b', 'c', 'd', 'e']) swarm.join(name, { bootstrap: ['sim://a'] })
    await swarm.pass(15_000)
    const isMinor = (name: string) => name === 'a' || name === 'b'
    const heal = swarm.network.disturb((from, to) =>
      isMinor(from) !== isMinor(to) ? 'blocked' : undefined,
    )
    await swarm.pass(40_000)
    heal()
    await swarm.pass(30_000)
    const { roster } = entriesOf(swarm.entries, 'roster').at(-1)!
    expect(roster.members.map(({ peer }) => peer).toSorted()).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect(swarm.founders).toEqual(['a'])
  })

  test('says every minute for whom it looks and what failed, and ends after 15 minutes', async () => {
    const swarm = new SearchingSwarm(LONG)
    const knownMembers = knew('d', ['b', 'c'])
    const { finished } = swarm.join('d', { claim: 'never', knownMembers })
    await swarm.end()
    const waits = swarm.waits('d')
    expect(waits.length).toBeGreaterThan(13)
    expect(waits.length).toBeLessThan(18)
    expect(waits[0]).toMatch(/b at sim:\/\/b: nobody answers.*c at sim:\/\/c: .*--anew.*--resume/)
    const { failure } = await finished
    expect(failure).toMatch(/for 9\d\d s \(b at sim:\/\/b: .*Start one of them/)
    expect(swarm.founders).toEqual([])
  })
})

describe('a newcomer with a bootstrap address', () => {
  test('asks for 60 s, and names each failure at once', async () => {
    const swarm = new SearchingSwarm(RUN)
    const { finished } = swarm.join('b', { bootstrap: ['sim://a'] })
    const outcome = finished.catch((error) => error)
    await swarm.pass(5_000)
    expect(swarm.waits('b')).toEqual([expect.stringMatching(/sim:\/\/a: .*nobody answers/)])
    await swarm.pass(50_000)
    swarm.join('a')
    await swarm.pass(8_000)
    expect(entriesOf(swarm.entries, 'joined').map(({ peer }) => peer)).toEqual(['b'])
    await swarm.end()
    expect(await outcome).toMatchObject({ committed: RUN.steps })
  })

  test('ends with the failures and the remedy after 60 s without a sign of life', async () => {
    const swarm = new SearchingSwarm(RUN)
    const { finished } = swarm.join('b', { bootstrap: ['sim://a'] })
    const outcome = finished.catch((error) => error)
    await swarm.pass(70_000)
    expect(await outcome).toBeInstanceOf(InputError)
    expect(String(await outcome)).toMatch(/sim:\/\/a: .*nobody answers.*correct --bootstrap/)
    expect(swarm.world.clock.now()).toBeGreaterThan(60_000)
  })

  test.each([
    ['each of two', { a: ['b'], b: ['a'] }],
    ['each of three the other two', { a: ['b', 'c'], b: ['a', 'c'], c: ['a', 'b', 'c'] }],
  ])('founds the run if its bootstrap peers search as well: %s', async (_, addresses) => {
    const swarm = new SearchingSwarm(RUN)
    for (const [name, others] of Object.entries(addresses)) {
      swarm.join(name, { bootstrap: others.map((other) => `sim://${other}`) })
    }
    await swarm.end()
    expect(swarm.founders).toEqual(['a'])
    expect(entriesOf(swarm.entries, 'joined')).toHaveLength(Object.keys(addresses).length - 1)
  })

  test('leaves the founding to a peer without one', async () => {
    const swarm = new SearchingSwarm(RUN)
    swarm.join('a', { bootstrap: ['sim://b'] })
    swarm.join('b')
    await swarm.end()
    expect(swarm.founders).toEqual(['b'])
  })
})

describe('of peers that start together', () => {
  test.each([2, 5])('the smallest of %i founds the run, and the others join it', async (count) => {
    const swarm = new SearchingSwarm(RUN, { mdns: true })
    const names = Array.from({ length: count }, (_, i) => `peer-${i}`)
    for (const name of names.toReversed()) swarm.join(name)
    await swarm.end()
    expect(swarm.founders).toEqual(['peer-0'])
    const joined = entriesOf(swarm.entries, 'joined').map(({ peer }) => peer)
    expect(joined.toSorted()).toEqual(names.slice(1))
  })

  test('the next one founds the run if the smallest dies first', async () => {
    const swarm = new SearchingSwarm(RUN, { mdns: true })
    for (const name of ['a', 'b', 'c']) swarm.join(name)
    await swarm.pass(1_000)
    swarm.kill('a')
    await swarm.end()
    expect(swarm.founders).toEqual(['b'])
  })

  test('none founds the run if one of them was in it before, unless its user insists', async () => {
    const swarm = new SearchingSwarm(LONG, { mdns: true })
    for (const name of ['a', 'b']) swarm.join(name)
    swarm.join('c', { claim: 'never' })
    await swarm.pass(120_000)
    expect(swarm.founders).toEqual([])
    expect(swarm.waits('a').at(-1)).toMatch(/peer c was in this run before.*--anew/)
    swarm.join('d', { claim: 'insists' })
    await swarm.pass(20_000)
    expect(swarm.founders).toEqual(['d'])
    expect(entriesOf(swarm.entries, 'joined')).toHaveLength(3)
  })

  test('one waits as long as another process of its machine is about to found the run', async () => {
    const swarm = new SearchingSwarm(LONG)
    let isClaimed = true
    swarm.join('a', { claimFounder: () => !isClaimed })
    await swarm.pass(300_000)
    expect(swarm.founders).toEqual([])
    expect(swarm.waits('a').at(-1)).toMatch(/another process with this data directory/)
    isClaimed = false
    await swarm.pass(3_000)
    expect(swarm.founders).toEqual(['a'])
  })
})

describe('of two foundings of one run', () => {
  /** Founds the run twice, by peers that do not see each other, and lets both train for a while. */
  async function twice({ firstMs = 0 }: { firstMs?: number } = {}) {
    const swarm = new SearchingSwarm(LONG)
    swarm.join('b')
    swarm.join('b2', { bootstrap: ['sim://b'] })
    await swarm.pass(firstMs)
    swarm.join('a')
    swarm.join('a2', { bootstrap: ['sim://a'] })
    await swarm.pass(20_000)
    expect(swarm.founders.toSorted()).toEqual(['a', 'b'])
    return swarm
  }

  /** Peers that are in the last roster. */
  const members = ({ entries }: SearchingSwarm) =>
    entriesOf(entries, 'roster')
      .at(-1)!
      .roster.members.map(({ peer }) => peer)
      .toSorted()

  test('the one with more steps stays when a fresh founder sees a member of it', async () => {
    const swarm = await twice({ firstMs: 300_000 })
    swarm.introduce('a', 'b2')
    await swarm.pass(30_000)
    expect(members(swarm)).toEqual(['a', 'a2', 'b', 'b2'])
    expect(
      entriesOf(swarm.entries, 'dropped')
        .map(({ peer }) => peer)
        .toSorted(),
    ).toEqual(['a', 'a2'])
    const notices = entriesOf(swarm.entries, 'notice').filter(({ peer }) => peer === 'a')
    expect(notices.map(({ message }) => message).join()).toMatch(
      /founded twice: peer b coordinates the one that stays with \d+ steps, and \d+ steps of this one are given up/,
    )
    expect(swarm.founders).toHaveLength(2)
  })

  test('one stays when both founders are fresh and ask each other at the same moment', async () => {
    const swarm = await twice()
    swarm.introduce('a', 'b')
    await swarm.pass(30_000)
    expect(members(swarm)).toEqual(['a', 'a2', 'b', 'b2'])
    expect(swarm.founders).toHaveLength(2)
  })

  test('an older founding with fewer steps gives way to a younger one, which it does not look for', async () => {
    const swarm = new SearchingSwarm(LONG)
    swarm.join('a')
    await swarm.pass(150_000)
    swarm.join('b')
    swarm.join('b2', { bootstrap: ['sim://b'] })
    await swarm.pass(20_000)
    swarm.introduce('a', 'b')
    await swarm.pass(30_000)
    expect(members(swarm)).toEqual(['a', 'b', 'b2'])
    expect(entriesOf(swarm.entries, 'dropped').map(({ peer }) => peer)).toEqual(['a'])
  })
})
