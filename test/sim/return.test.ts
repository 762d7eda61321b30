/** A swarm of which every process was killed continues from what is left on its disks, with the bits of an undisturbed run. */
import { expect, test } from 'vitest'
import type { Roster } from '../../protocols/membership.ts'
import { MemoryStore } from '../../sim/world/memory-store.ts'
import type { Entry } from '../../src/base/journal.ts'
import { StageDisk } from '../../src/checkpoint/stage-disk.ts'
import type { Store } from '../../src/checkpoint/store.ts'
import { reportOf } from '../../src/cli/report.ts'
import { foundingRoster } from '../../src/membership/roster.ts'
import { type Offer, returnStep } from '../../src/recovery/return-step.ts'
import type { Run } from '../../src/run/run.ts'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 12
const EVERY = 3
const PEERS = 6

function runWith(recovery: Partial<Run['recovery']> = {}): Run {
  const kept = { everySteps: EVERY }
  return tinyRun({ steps: STEPS, recovery: tinyRecovery({ kept, ...recovery }) })
}

const names = (peers: number) => Array.from({ length: peers }, (_, i) => `peer-${i + 1}`)

/** Trains until `step` was made, and leaves the disks as they are then. */
async function trainedUntil(run: Run, step: number) {
  const disks = new Map<string, Store>()
  const swarm = new TestSwarm(run, { computeMs: () => 20, disks })
  const reached = Promise.withResolvers<void>()
  swarm.onEntry((entry) => {
    if (entry.type === 'step' && entry.step === step) reached.resolve()
  })
  for (const name of names(PEERS)) swarm.join(name)
  await swarm.world.run(reached.promise, { waitingFor: `step ${step}`, untilMs: 3_600_000 })
  return { disks, entries: swarm.entries }
}

/** What is on the disks of these peers. */
async function offersOf(disks: ReadonlyMap<string, Store>, peers: readonly string[]) {
  const offers: Offer[] = []
  for (const peer of peers) {
    const store = disks.get(peer)
    if (store === undefined) continue
    const disk = new StageDisk({ store, pause: async () => {} })
    expect(await disk.scanned).toEqual([])
    offers.push(...disk.holdings.map((holding) => ({ ...holding, peer })))
  }
  return offers
}

/** The roster of peers that continue after a step, none of which holds a stage. */
function returningRoster(peers: readonly string[], step: number, loss: number | null): Roster {
  const members = peers.map((peer, id) => {
    const addresses = [`sim://${peer}`]
    return { id, peer, session: id, addresses, domain: '', host: '', stage: null, ready: true }
  })
  const founded = foundingRoster(members[0]!)
  return { ...founded, members, nextId: peers.length, committed: step, loss }
}

/** Starts a swarm again from its disks, and lets it end. */
async function continued(run: Run, disks: Map<string, Store>, peers: readonly string[]) {
  const found = returnStep(run, await offersOf(disks, peers))!
  const roster = returningRoster(peers, found.step, found.loss)
  const swarm = new TestSwarm(run, { computeMs: () => 20, disks })
  for (const [session, name] of peers.entries()) swarm.join(name, { start: { roster, session } })
  for (const { network } of swarm.peers.values()) {
    for (const name of peers) network.learn(name, [`sim://${name}`])
  }
  await swarm.end(3_600_000)
  const weights = new Map(swarm.saved.map(({ stage, weights }) => [stage, [...weights]]))
  return { found, entries: swarm.entries, weights }
}

async function undisturbed() {
  const run = runWith()
  const swarm = new TestSwarm(run, { computeMs: () => 20 })
  for (const name of names(PEERS)) swarm.join(name)
  await swarm.end(3_600_000)
  const weights = new Map(swarm.saved.map(({ stage, weights }) => [stage, [...weights]]))
  return { losses: lossesOf(swarm.entries), weights }
}

const whole = undisturbed()

function lossesOf(entries: readonly Entry[], after = 0) {
  return reportOf(entries, runWith()).losses.filter(({ step }) => step > after)
}

const heldOf = (entries: readonly Entry[]) =>
  entriesOf(entries, 'held').map(({ stage, by, strategy, bytes }) => ({
    stage,
    by,
    strategy,
    bytes,
  }))

test('all killed and started again: every stage comes from its own disk, and the run ends with the same bits', async () => {
  const run = runWith()
  const { disks, entries: before } = await trainedUntil(run, 8)
  const { found, entries, weights } = await continued(run, disks, names(PEERS))
  expect(found).toMatchObject({ step: 6, missing: [], refused: [], exact: [0, 1, 2, 3, 4] })
  const holders = new Map(entriesOf(before, 'held').map(({ stage, by }) => [stage, by]))
  expect(heldOf(entries).sort((a, b) => a.stage - b.stage)).toEqual(
    [0, 1, 2, 3, 4].map((stage) => ({ stage, by: holders.get(stage), strategy: 'kept', bytes: 0 })),
  )
  const { losses, weights: expected } = await whole
  expect(lossesOf(entries, 6)).toEqual(losses.filter(({ step }) => step > 6))
  expect(weights).toEqual(expected)
})

test('a finished run leaves nothing on the disks', async () => {
  const run = runWith()
  const disks = new Map<string, Store>()
  const swarm = new TestSwarm(run, { computeMs: () => 20, disks })
  for (const name of names(PEERS)) swarm.join(name)
  await swarm.end(3_600_000)
  expect(entriesOf(swarm.entries, 'stored').length).toBeGreaterThan(0)
  expect([...disks.values()].flatMap((store) => [...(store as MemoryStore).files.keys()])).toEqual(
    [],
  )
})

/** The peer that held a stage when the swarm was killed. */
const holderOf = (entries: readonly Entry[], stage: number) =>
  entriesOf(entries, 'held').findLast((each) => each.stage === stage)!.by

test('one process more, and another order: stages go to their disks, and the new peer is a spare', async () => {
  const run = { ...runWith(), spares: 2 }
  const { disks } = await trainedUntil(run, 8)
  const peers = ['new', ...names(PEERS).reverse()]
  const { found, entries, weights } = await continued(run, disks, peers)
  expect(found.step).toBe(6)
  const held = heldOf(entries)
  expect(held).toHaveLength(5)
  expect(held.every(({ by, bytes }) => by !== 'new' && bytes === 0)).toBe(true)
  expect(weights).toEqual((await whole).weights)
})

test('a disk is missing, and no other has a copy: the stage is made from its neighbours, which come first', async () => {
  const run = runWith({ policy: ['checkfree', 'copy', 'random'] })
  const { disks, entries: before } = await trainedUntil(run, 8)
  disks.delete(holderOf(before, 2))
  const { found, entries } = await continued(run, disks, names(PEERS))
  expect(found).toMatchObject({ step: 6, missing: [2], refused: [] })
  const held = heldOf(entries)
  expect(
    held
      .map(({ stage }) => stage)
      .slice(0, 4)
      .sort(),
  ).toEqual([0, 1, 3, 4])
  expect(held[4]).toMatchObject({ stage: 2, strategy: 'checkfree' })
  expect(entriesOf(entries, 'held')[4]!.skipped).toEqual([
    { strategy: 'kept', reason: 'stage 2 is on the disk of no member' },
  ])
  expect(entriesOf(entries, 'step').at(-1)!.step).toBe(STEPS)
})

test('one process less: the stage that it held comes from a copy on the disk of its keeper', async () => {
  const { shadow: defaults } = tinyRecovery()
  const shadow = { ...defaults, everySteps: 2, endsEverySteps: 2, keepers: 1, endsKeepers: 1 }
  const run = runWith({ policy: ['shadow', 'checkfree', 'copy', 'random'], shadow })
  const { disks, entries: before } = await trainedUntil(run, 8)
  const lost = holderOf(before, 0)
  const rest = names(PEERS).filter((name) => name !== lost)
  const { found, entries } = await continued(run, disks, rest)
  expect(found).toMatchObject({ step: 6, exact: [1, 2, 3, 4], missing: [], refused: [] })
  const ends = entriesOf(entries, 'held').find(({ stage }) => stage === 0)!
  // The copy of step 6 was still on its way when the disks were written.
  expect(ends).toMatchObject({ strategy: 'shadow', ofStep: 4 })
  expect(entriesOf(entries, 'step').at(-1)!.step).toBe(STEPS)
})

test('a damaged file is removed and named, and the swarm continues from the step before', async () => {
  const run = runWith()
  const { disks, entries: before } = await trainedUntil(run, 8)
  const store = disks.get(holderOf(before, 3)) as MemoryStore
  const [name, content] = [...store.files].find(([name]) => name.startsWith('kept-3-6-'))!
  store.files.set(name, content.with(5000, content[5000]! ^ 1))
  const disk = new StageDisk({ store, pause: async () => {} })
  expect(await disk.scanned).toEqual([`${name} is damaged: its digest differs`])
  expect(store.files.has(name)).toBe(false)
  const { found, weights } = await continued(run, disks, names(PEERS))
  expect(found).toMatchObject({ step: 3, exact: [0, 1, 2, 3, 4] })
  expect(weights).toEqual((await whole).weights)
})

test('a full disk costs nothing but the files: training goes on, and says so once until it has room again', async () => {
  const run = runWith()
  const disks = new Map<string, Store>()
  const full = new MemoryStore()
  full.write = async () => {
    throw new Error('ENOSPC: no space left on device')
  }
  disks.set('peer-2', full)
  const swarm = new TestSwarm(run, { computeMs: () => 20, disks })
  for (const name of names(PEERS)) swarm.join(name)
  await swarm.end(3_600_000)
  expect(lossesOf(swarm.entries)).toEqual((await whole).losses)
  const told = entriesOf(swarm.entries, 'notice').filter(({ message }) => /ENOSPC/.test(message))
  expect(told.map(({ peer }) => peer)).toEqual(['peer-2'])
  expect(told[0]!.message).toMatch(/^the state of step 1 is not on this peer's disk: ENOSPC/)
})
