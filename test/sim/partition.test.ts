/** A swarm in two parts: the minority neither commits nor recovers, reports this, and returns by itself. */
import { describe, expect, test } from 'vitest'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Entry } from '../../src/base/journal.ts'
import { entriesOf, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STAGES = 2
/** Number of peers: two holders of each stage and a spare. Each side has holders of some stages. */
const PEERS = 7
const STEPS = 40
/** Milliseconds from the cut until all earlier decisions are complete. */
const CUT_MS = 2_000
const PART_MS = 25_000
/** Milliseconds after which all other peers count as lost, but before they elect another coordinator. */
const DEAF_MS = 10_000

/** Limit in ms from a coordinator's silence until the next step: the silence, a new connection, and the election. */
const FROZEN_MS = 10_000

const run = tinyRun({
  stages: STAGES,
  steps: STEPS,
  spares: 1,
  microbatches: 4,
  model: { ...tinyRun().model, layers: STAGES },
})

/** Starts all peers of a run. Each peer can ask any other living peer. */
function swarmOf(): TestSwarm {
  const swarm = new TestSwarm(run)
  for (let i = 1; i <= PEERS; i++) {
    const name = `peer-${i}`
    let first = i === 1
    swarm.join(name, {
      discover: async (enter) => {
        const founds = first
        first = false
        if (founds) return null
        // A node looks for others as soon as it is started, before the swarm lists it.
        await Promise.resolve()
        const own = swarm.peers.get(name)?.network
        for (const contact of swarm.network.living) {
          if (contact === name) continue
          own?.learn(contact, [`sim://${contact}`])
          const coordinator = await enter(contact).catch(() => null)
          if (coordinator !== null) return coordinator
        }
        return null
      },
    })
  }
  return swarm
}

/** Cuts off a minority in the middle of the run: the first three peers, who hold all stages, or the last three. */
async function parted(minority: readonly string[]) {
  const swarm = swarmOf()
  let cutAt = Number.POSITIVE_INFINITY
  let healedAt = Number.POSITIVE_INFINITY
  swarm.onEntry((entry) => {
    if (entry.type !== 'step' || entry.step !== 3 || cutAt < Infinity) return
    cutAt = swarm.world.clock.now()
    const inside = (peer: string) => minority.includes(peer)
    const heal = swarm.network.disturb((from, to) =>
      inside(from) !== inside(to) ? 'blocked' : undefined,
    )
    swarm.world.schedule(PART_MS, 'the partition heals', () => {
      healedAt = swarm.world.clock.now()
      heal()
    })
  })
  await swarm.end(3_600_000)
  const during = (entry: Entry) =>
    minority.includes(entry.peer) && entry.at > cutAt + CUT_MS && entry.at < healedAt
  return { swarm, isolated: swarm.entries.filter(during), healedAt }
}

describe.each([
  ['without the coordinator', ['peer-5', 'peer-6', 'peer-7']],
  ['with the coordinator', ['peer-1', 'peer-2', 'peer-3']],
])('a minority %s', (_, minority) => {
  test('waits, says so, and rejoins when the partition heals; nothing is decided twice', async () => {
    const { swarm, isolated, healedAt } = await parted(minority)
    for (const type of ['committed', 'step', 'held', 'holding', 'roster'] as const) {
      expect(entriesOf(isolated, type), type).toEqual([])
    }
    // Each member reports the wait once, before or while the others continue.
    const said = entriesOf(swarm.entries, 'waiting').filter(
      ({ peer, reason }) => minority.includes(peer) && reason.includes('ithout a majority'),
    )
    expect(said.length).toBeGreaterThan(0)
    // The others continued without the minority, which returned later.
    const majoritySteps = entriesOf(swarm.entries, 'step').filter(
      ({ peer, at }) => !minority.includes(peer) && at < healedAt,
    )
    expect(majoritySteps.length).toBeGreaterThan(0)
    for (const peer of minority) {
      const back = entriesOf(swarm.entries, 'joined').filter((entry) => entry.peer === peer)
      expect(back.at(-1)!.at, `${peer} rejoins`).toBeGreaterThan(healedAt)
    }
    const outcomes = new Map<number, Set<string>>()
    for (const { step, loss } of entriesOf(swarm.entries, 'committed')) {
      outcomes.set(step, (outcomes.get(step) ?? new Set()).add(`${loss}`))
    }
    expect([...outcomes.keys()].sort((a, b) => a - b)).toEqual(
      Array.from({ length: STEPS }, (_, i) => i + 1),
    )
    for (const [step, losses] of outcomes) expect(losses.size, `step ${step}`).toBe(1)
  })
})

test('a coordinator that hears nobody for a while does not put out those who hear it', async () => {
  const swarm = swarmOf()
  let cut = false
  swarm.onEntry((entry) => {
    if (entry.type !== 'step' || entry.step !== 3 || cut) return
    cut = true
    const heal = swarm.network.disturb((from, to) =>
      to === entry.peer && from !== entry.peer ? 'blocked' : undefined,
    )
    swarm.world.schedule(DEAF_MS, 'the coordinator hears again', heal)
  })
  await swarm.end(3_600_000)
  const { entries } = swarm
  // The peer counted all other peers as lost.
  expect(new Set(entriesOf(entries, 'lost').map(({ lost }) => lost)).size).toBe(PEERS - 1)
  for (const { roster } of entriesOf(entries, 'roster').slice(-1)) {
    expect(roster.members).toHaveLength(PEERS)
  }
  expect(entriesOf(entries, 'dropped')).toEqual([])
  expect(entriesOf(entries, 'step').at(-1)!.step).toBe(STEPS)
})

test('members that have not heard of the last step do not hold up who takes over', async () => {
  const swarm = swarmOf()
  const behind = ['peer-5', 'peer-6', 'peer-7']
  const coordinator = swarm.peers.get('peer-1')!.network
  const call = coordinator.call.bind(coordinator)
  let isKept = false
  coordinator.call = async (to, protocol, message, options) => {
    const kept = isKept && behind.includes(to) && /propose|install/.test(protocol)
    if (!kept) return call(to, protocol, message, options)
    await swarm.world.clock.sleep(options.timeoutMs, options.signal)
    throw new ProtocolError('TIMEOUT', 'it was kept from them')
  }
  let silentAt: number | null = null
  swarm.onEntry((entry) => {
    if (entry.type === 'step' && entry.step === 3) isKept = true
    const told = entry.type === 'committed' && entry.step === 4 && entry.peer !== 'peer-1'
    if (!told || silentAt !== null) return
    silentAt = swarm.world.clock.now()
    const thaw = swarm.network.disturb((from, to) =>
      from === 'peer-1' || to === 'peer-1' ? 'blocked' : undefined,
    )
    swarm.world.schedule(2 * FROZEN_MS, 'the coordinator is heard again', thaw)
  })
  await swarm.end(3_600_000)
  const next = entriesOf(swarm.entries, 'step').find(
    ({ peer, step }) => peer !== 'peer-1' && step === 5,
  )
  expect(next!.at - silentAt!).toBeLessThan(FROZEN_MS)
  const losses = new Set(
    entriesOf(swarm.entries, 'committed')
      .filter(({ step }) => step === 4)
      .map(({ loss }) => loss),
  )
  expect(losses.size).toBe(1)
})
