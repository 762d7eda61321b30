/** A majority vanishes: those who are left go on by themselves, and incarnations that meet become one. */
import { describe, expect, test } from 'vitest'
import type { Entry } from '../../src/base/journal.ts'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 60
const AFTER_MS = 60_000
const MINUTE_MS = 60_000

const base = tinyRun()
/** Two body stages and the ends: three stages. */
const run = tinyRun({
  stages: 2,
  steps: STEPS,
  spares: 1,
  model: { ...base.model, layers: 2 },
  recovery: tinyRecovery({ policy: ['shadow', 'copy', 'random'] }),
})

/** One body stage and the ends: two peers can hold both. */
const small = { ...run, stages: 1, model: { ...base.model, layers: 1 } }

/** Starts peers, each of which asks any other living peer. */
function swarmOf(peers: number, of = run, computeMs = 150): TestSwarm {
  const swarm = new TestSwarm(of, { computeMs: () => computeMs, disks: new Map() })
  for (let i = 1; i <= peers; i++) joinOthers(swarm, `peer-${i}`, i === 1)
  return swarm
}

/** @param only the one peer that is asked; any living peer if left out */
function joinOthers(swarm: TestSwarm, name: string, founds = false, only?: string): void {
  let isFirst = founds
  swarm.join(name, {
    discover: async (enter, { signal }) => {
      const isFounder = isFirst
      isFirst = false
      if (isFounder) return null
      // A node looks for others as soon as it is started, before the swarm lists it.
      await Promise.resolve()
      const own = swarm.peers.get(name)?.network
      for (;;) {
        for (const contact of swarm.network.living) {
          if (contact === name || (only !== undefined && contact !== only)) continue
          own?.learn(contact, [`sim://${contact}`])
          const coordinator = await enter(contact).catch(() => null)
          if (coordinator !== null) return coordinator
        }
        await swarm.world.clock.sleep(1_000, signal)
      }
    },
  })
}

function once(swarm: TestSwarm, matches: (entry: Entry) => boolean, then: (at: number) => void) {
  let isDone = false
  swarm.onEntry((entry) => {
    if (isDone || !matches(entry)) return
    isDone = true
    then(entry.at)
  })
}

const isStep = (step: number) => (entry: Entry) => entry.type === 'step' && entry.step === step

/** Lets messages pass between peers of the same group only. Gives the function that heals the network. */
function split(swarm: TestSwarm, groups: readonly (readonly string[])[]): () => void {
  const groupOf = (peer: string) => groups.findIndex((group) => group.includes(peer))
  return swarm.network.disturb((from, to) =>
    groupOf(from) !== groupOf(to) ? 'blocked' : undefined,
  )
}

/** Steps that one peer journaled as the coordinator, with their times. */
function stepsOf(swarm: TestSwarm, peer: string) {
  return entriesOf(swarm.entries, 'step').filter((entry) => entry.peer === peer)
}

function told(swarm: TestSwarm) {
  return swarm.entries
    .filter(({ type }) => !['committed', 'copied', 'roster', 'evaluation', 'step'].includes(type))
    .map((entry) => JSON.stringify(entry).slice(0, 260))
    .join('\n')
}

const NINE = Array.from({ length: 9 }, (_, i) => `peer-${i + 1}`)

describe('five of nine are killed', () => {
  test.each([
    ['the coordinator with them', ['peer-1', 'peer-2', 'peer-3', 'peer-4', 'peer-5']],
    ['the coordinator is left', ['peer-2', 'peer-3', 'peer-4', 'peer-5', 'peer-6']],
  ])('%s: the four that are left go on after a minute, and say so', async (_, killed) => {
    const swarm = swarmOf(9)
    let killedAt = 0
    once(swarm, isStep(8), (at) => {
      killedAt = at
      for (const name of killed) swarm.kill(name)
    })
    await swarm.end(3_600_000)
    const left = NINE.filter((name) => !killed.includes(name))
    const founded = entriesOf(swarm.entries, 'incarnated')
    expect(founded.map(({ peer }) => peer).sort(), told(swarm)).toEqual(left)
    for (const { at, number, members, absent } of founded) {
      expect(at).toBeGreaterThan(killedAt + AFTER_MS)
      expect(at).toBeLessThan(killedAt + AFTER_MS + 30_000)
      expect([number, [...members].sort(), [...absent].sort()]).toEqual([1, left, killed])
    }
    for (const { peer, finished } of [...swarm.peers].map(([peer, each]) => ({ peer, ...each }))) {
      expect(await finished, peer).toMatchObject({ failure: null, committed: STEPS })
    }
    // A person at each terminal reads who is missing, and when the run goes on.
    for (const name of left) {
      const reasons = entriesOf(swarm.entries, 'waiting').filter(({ peer }) => peer === name)
      expect(
        reasons.some(({ reason }) => /missing: peer-.*After 60 s/.test(reason)),
        name,
      ).toBe(true)
    }
  })

  test('replacements are let in by the incarnation', async () => {
    const killed = ['peer-1', 'peer-2', 'peer-3', 'peer-4', 'peer-5']
    const swarm = swarmOf(9)
    once(swarm, isStep(8), () => {
      for (const name of killed) swarm.kill(name)
      swarm.world.schedule(10_000, 'replacements come', () => {
        for (let i = 10; i <= 14; i++) joinOthers(swarm, `peer-${i}`)
      })
    })
    const outcome = swarm.peers.get('peer-6')!.finished
    await swarm.world.run(outcome, { waitingFor: 'the run to end', untilMs: 3_600_000 })
    expect(await outcome).toMatchObject({ failure: null, committed: STEPS })
    const joined = entriesOf(swarm.entries, 'joined').map(({ peer }) => peer)
    expect(joined, told(swarm)).toEqual(expect.arrayContaining(['peer-10', 'peer-12', 'peer-14']))
  })

  test('the founder counts newcomers that know another member only', async () => {
    const killed = ['peer-1', 'peer-2', 'peer-3', 'peer-4', 'peer-5']
    // Seven stages: the four that are left are too few for them.
    const run7 = { ...run, stages: 6, model: { ...run.model, layers: 6 } }
    const swarm = swarmOf(9, run7)
    once(swarm, isStep(8), () => {
      for (const name of killed) swarm.kill(name)
      // The smallest id of those that are left has the right to found, and nobody knocks there.
      swarm.world.schedule(10_000, 'replacements come', () => {
        for (let i = 10; i <= 14; i++) joinOthers(swarm, `peer-${i}`, false, 'peer-9')
      })
    })
    const outcome = swarm.peers.get('peer-6')!.finished
    await swarm.world.run(outcome, { waitingFor: 'the run to end', untilMs: 3_600_000 })
    expect(await outcome, told(swarm)).toMatchObject({ failure: null, committed: STEPS })
  })

  test('with `wait` nobody goes on, and people read what to do', async () => {
    const swarm = swarmOf(9, { ...run, majority: 'wait' })
    once(swarm, isStep(8), () => {
      for (const name of NINE.slice(0, 5)) swarm.kill(name)
    })
    await swarm.world.run(swarm.world.clock.sleep(5 * MINUTE_MS), {
      waitingFor: 'five minutes',
      untilMs: 6 * MINUTE_MS,
    })
    expect(entriesOf(swarm.entries, 'incarnated')).toEqual([])
    const reasons = entriesOf(swarm.entries, 'waiting').map(({ reason }) => reason)
    expect(reasons.some((reason) => reason.includes('start the missing peers again'))).toBe(true)
  })
})

test('the founder dies in the middle of founding: those who accepted and those who did not become one again', async () => {
  const swarm = swarmOf(9)
  once(swarm, isStep(8), () => {
    for (const name of ['peer-1', 'peer-2', 'peer-3', 'peer-4']) swarm.kill(name)
    swarm.kill('peer-5')
  })
  // The smallest peer id of those that are left founds. It dies when the first member has accepted.
  once(
    swarm,
    (entry) => entry.type === 'incarnated' && entry.peer !== 'peer-6',
    (at) => {
      swarm.world.schedule(0, 'the founder dies', () => swarm.kill('peer-6'))
      expect(at).toBeGreaterThan(AFTER_MS)
    },
  )
  await swarm.end(3_600_000)
  const left = ['peer-7', 'peer-8', 'peer-9']
  const founded = entriesOf(swarm.entries, 'incarnated').map(({ peer }) => peer)
  expect(founded, told(swarm)).toEqual(expect.arrayContaining(left))
  for (const name of left) {
    expect(await swarm.peers.get(name)!.finished, `${name}\n${told(swarm)}`).toMatchObject({
      failure: null,
      committed: STEPS,
    })
  }
  // All that is left ends in one incarnation: nobody coordinates beside another.
  const last = entriesOf(swarm.entries, 'step').filter(({ step }) => step === STEPS)
  expect(last).toHaveLength(1)
})

test('four spares of seven members vanish: the three holders do not even wait', async () => {
  const swarm = swarmOf(7, { ...run, spares: 4 })
  let killedAt = 0
  once(swarm, isStep(8), (at) => {
    killedAt = at
    for (const name of ['peer-4', 'peer-5', 'peer-6', 'peer-7']) swarm.kill(name)
  })
  await swarm.end(3_600_000)
  expect(entriesOf(swarm.entries, 'incarnated')).toEqual([])
  const next = entriesOf(swarm.entries, 'step').find(({ at, step }) => step > 9 && at > killedAt)
  expect(next!.at).toBeLessThan(killedAt + 30_000)
  expect(entriesOf(swarm.entries, 'step').at(-1)!.step).toBe(STEPS)
})

describe('a split', () => {
  /** Splits a swarm after a step, heals it, and lets all end. */
  async function parted(groups: readonly (readonly string[])[], peers: number, healMs: number) {
    const swarm = swarmOf(peers, { ...small, steps: 120 })
    let healedAt = 0
    once(swarm, isStep(8), (at) => {
      const heal = split(swarm, groups)
      swarm.world.schedule(healMs, 'the network heals', () => {
        healedAt = at + healMs
        heal()
      })
    })
    await swarm.end(3_600_000)
    for (const [name, { finished }] of swarm.peers) {
      expect(await finished, `${name}\n${told(swarm)}`).toMatchObject({
        failure: null,
        committed: 120,
      })
    }
    return { swarm, healedAt }
  }

  test('2 to 3: the two go on, and come back when the network heals; only their steps are lost', async () => {
    const { swarm, healedAt } = await parted(
      [
        ['peer-1', 'peer-2', 'peer-3'],
        ['peer-4', 'peer-5'],
      ],
      5,
      150_000,
    )
    const founded = entriesOf(swarm.entries, 'incarnated')
    expect(founded.map(({ peer }) => peer).sort()).toEqual(['peer-4', 'peer-5'])
    const over = entriesOf(swarm.entries, 'superseded')
    expect(over.map(({ peer }) => peer).sort()).toEqual(['peer-4', 'peer-5'])
    for (const { at } of over) expect(at).toBeLessThan(healedAt + MINUTE_MS)
    const steps = stepsOf(swarm, 'peer-1').map(({ step }) => step)
    expect(steps).toEqual(Array.from({ length: 120 }, (_, i) => i + 1))
  })

  test('those who go over look for the others for ten seconds before they continue from their own disks', async () => {
    const swarm = swarmOf(5, { ...small, steps: 120 })
    const far = ['peer-4', 'peer-5']
    const isAcross = (from: string, to: string) => far.includes(from) !== far.includes(to)
    once(swarm, isStep(8), () => {
      const heal = split(swarm, [NINE.slice(0, 3), far])
      swarm.world.schedule(150_000, 'the network heals', heal)
    })
    once(
      swarm,
      ({ type }) => type === 'superseded',
      () => {
        const end = swarm.network.disturb((from, to) =>
          isAcross(from, to) ? { delayMs: 1_200 } : undefined,
        )
        swarm.world.schedule(60_000, 'messages come in time again', end)
      },
    )
    await swarm.end(3_600_000)
    const steps = entriesOf(swarm.entries, 'step').at(-1)!
    expect([steps.peer, steps.step]).toEqual(['peer-1', 120])
    expect(entriesOf(swarm.entries, 'superseded')).toHaveLength(2)
    expect(entriesOf(swarm.entries, 'returned')).toEqual([])
  })

  test('2 to 2 to 2: each part goes on, and one incarnation is left', async () => {
    const { swarm, healedAt } = await parted(
      [
        ['peer-1', 'peer-2'],
        ['peer-3', 'peer-4'],
        ['peer-5', 'peer-6'],
      ],
      6,
      150_000,
    )
    const founders = new Set(entriesOf(swarm.entries, 'incarnated').map(({ founder }) => founder))
    expect(founders.size).toBe(3)
    const over = entriesOf(swarm.entries, 'superseded')
    for (const { at } of over) expect(at).toBeLessThan(healedAt + 2 * MINUTE_MS)
    // Of the six peers those of one part have never changed sides.
    expect(new Set(over.map(({ peer }) => peer)).size).toBe(4)
  })
})
