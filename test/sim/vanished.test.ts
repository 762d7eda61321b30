/** Every process of a swarm is killed, and some start again: the run continues from what is on their disks. */
import { expect, test } from 'vitest'
import { MemoryStore } from '../../sim/world/memory-store.ts'
import type { Entry } from '../../src/base/journal.ts'
import type { Store } from '../../src/checkpoint/store.ts'
import { reportOf } from '../../src/cli/report.ts'
import type { NodeOptions } from '../../src/node/node-options.ts'
import type { Run } from '../../src/run/run.ts'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 12
const NAMES = ['peer-1', 'peer-2', 'peer-3', 'peer-4', 'peer-5', 'peer-6']

function runWith(recovery: Partial<Run['recovery']> = {}): Run {
  const kept = { everySteps: 3 }
  return tinyRun({ steps: STEPS, recovery: tinyRecovery({ kept, ...recovery }) })
}

interface Vanishing {
  readonly run?: Run
  /** Step after which all are killed. */
  readonly at: number
  /** Changes the disks while no process lives. */
  readonly meanwhile?: (disks: Map<string, Store>, entries: readonly Entry[]) => void
  /** A peer with an empty disk, which founds the run again as soon as all are killed. All others know its address. */
  readonly founder?: string
  /** Processes that start again, each with the time in ms after the kill. */
  readonly back: (entries: readonly Entry[]) => readonly (readonly [string, number])[]
}

/** Plays a run that vanishes once, until the peers that came back have ended. */
async function play({ run = runWith(), at, meanwhile = () => {}, founder, back }: Vanishing) {
  const disks = new Map<string, Store>()
  const swarm = new TestSwarm(run, { computeMs: () => 20, disks })
  const { world } = swarm
  const reached = Promise.withResolvers<void>()
  swarm.onEntry((entry) => {
    if (entry.type === 'step' && entry.step === at) reached.resolve()
  })
  for (const name of NAMES) swarm.join(name)
  await world.run(reached.promise, { waitingFor: `step ${at}`, untilMs: 3_600_000 })
  for (const name of NAMES) swarm.kill(name)
  const before = [...swarm.entries]
  const killedAt = world.clock.now()
  meanwhile(disks, before)
  swarm.saved.length = 0
  if (founder !== undefined) swarm.join(founder, { discover: foundOnce() })
  const starting = back(before).map(async ([name, ms]) => {
    await world.clock.sleep(ms)
    return swarm.restart(name, founder === undefined ? NAMES : [founder, ...NAMES]).finished
  })
  const ended = Promise.all(starting)
  const finished = await world.run(ended, { waitingFor: 'all to end', untilMs: 7_200_000 })
  const entries = swarm.entries.slice(before.length)
  const weights = new Map(swarm.saved.map(({ stage, weights }) => [stage, [...weights]]))
  return { before, entries, finished, weights, killedAt }
}

/** Finds nobody at first, so that the peer founds the run. Later a peer of the swarm lets it in. */
function foundOnce(): NodeOptions['discover'] {
  let searches = 0
  return async (enter) => (searches++ === 0 ? null : enter(NAMES[0]!))
}

function lossesOf(entries: readonly Entry[], after: number) {
  return reportOf(entries, runWith()).losses.filter(({ step }) => step > after)
}

const undisturbed = (async () => {
  const swarm = new TestSwarm(runWith(), { computeMs: () => 20 })
  for (const name of NAMES) swarm.join(name)
  await swarm.end(3_600_000)
  const weights = new Map(swarm.saved.map(({ stage, weights }) => [stage, [...weights]]))
  return { entries: swarm.entries, weights }
})()

const holderOf = (entries: readonly Entry[], stage: number) =>
  entriesOf(entries, 'held').findLast((each) => each.stage === stage)!.by

const returnedOf = (entries: readonly Entry[]) =>
  entriesOf(entries, 'returned').map(({ step, founder, missing }) => ({ step, founder, missing }))

const all = () => NAMES.map((name, i) => [name, 300 * i] as const)

test('all come back: within seconds the run goes on, and it ends with the bits of an undisturbed run', async () => {
  const { entries, finished, weights, before, killedAt } = await play({ at: 8, back: all })
  expect(finished.every(({ failure }) => failure === null)).toBe(true)
  const returned = returnedOf(entries)
  expect(returned).toHaveLength(6)
  expect(returned).toContainEqual({ step: 6, founder: 'peer-1', missing: [] })
  expect(entriesOf(entries, 'founded')).toEqual([])
  const held = entriesOf(entries, 'held')
  expect(held.map(({ stage, by, bytes }) => [stage, by, bytes]).sort()).toEqual(
    [0, 1, 2, 3, 4].map((stage) => [stage, holderOf(before, stage), 0]),
  )
  const first = entriesOf(entries, 'step')[0]!
  expect(first.step).toBe(7)
  expect(first.at - killedAt).toBeLessThan(8_000)
  const whole = await undisturbed
  expect(lossesOf(entries, 6)).toEqual(lossesOf(whole.entries, 6))
  expect(weights).toEqual(whole.weights)
})

test('one process less: the others wait ten seconds for it if every stage is on their disks', async () => {
  const { entries, finished, killedAt } = await play({
    at: 8,
    // The sixth peer had no stage.
    back: (before) => {
      const holders = new Set([0, 1, 2, 3, 4].map((stage) => holderOf(before, stage)))
      return NAMES.filter((name) => holders.has(name)).map((name) => [name, 0] as const)
    },
  })
  const [first] = entriesOf(entries, 'returned')
  expect(first!.at - killedAt).toBeGreaterThan(10_000)
  expect(first!.at - killedAt).toBeLessThan(20_000)
  expect(first).toMatchObject({ step: 6, absent: ['peer-6'] })
  expect(finished.every(({ failure }) => failure === null)).toBe(true)
})

test('a disk is missing: after a minute the stage is made from its neighbours, by the spare', async () => {
  const { entries, finished, before, killedAt } = await play({
    at: 8,
    meanwhile: (disks, before) => void disks.delete(holderOf(before, 2)),
    back: (before) =>
      NAMES.filter((name) => name !== holderOf(before, 2)).map((name) => [name, 0] as const),
  })
  const [first] = entriesOf(entries, 'returned').filter(({ missing }) => missing !== null)
  expect(first).toMatchObject({ step: 6, missing: [2] })
  expect(first!.at - killedAt).toBeGreaterThan(60_000)
  const rebuilt = entriesOf(entries, 'held').find(({ stage }) => stage === 2)!
  expect(rebuilt).toMatchObject({ strategy: 'checkfree' })
  expect(rebuilt.by).not.toBe(holderOf(before, 2))
  expect(finished.every(({ failure }) => failure === null)).toBe(true)
})

test('the ends are on no disk: the others say whom they wait for, and continue when it comes', async () => {
  const { entries, finished, killedAt } = await play({
    at: 8,
    back: (before) => NAMES.map((name) => [name, name === holderOf(before, 0) ? 90_000 : 0]),
  })
  const waits = entriesOf(entries, 'waiting').filter(({ reason }) =>
    /do not bring back/.test(reason),
  )
  expect(waits[0]!.reason).toMatch(/stage 0 .*: start the others again \(peer-1\)/)
  const steps = entriesOf(entries, 'step')
  expect(steps[0]!.at - killedAt).toBeGreaterThan(90_000)
  expect(steps[0]!.at - killedAt).toBeLessThan(110_000)
  expect(steps[0]!.step).toBe(7)
  expect(finished.every(({ failure }) => failure === null)).toBe(true)
})

test('one that comes late, after the others have gone on, is let in', async () => {
  const { entries, finished } = await play({
    at: 8,
    back: () => NAMES.map((name) => [name, name === 'peer-6' ? 12_000 : 0]),
  })
  expect(entriesOf(entries, 'returned').every(({ step }) => step === 6)).toBe(true)
  expect(entriesOf(entries, 'joined').map(({ peer }) => peer)).toContain('peer-6')
  expect(finished.every(({ failure }) => failure === null)).toBe(true)
})

test('a new machine that begins the run anew meanwhile is let into the one that comes back', async () => {
  const run = { ...runWith(), steps: 60 }
  const { entries, finished } = await play({ run, at: 8, back: all, founder: 'new' })
  expect(entriesOf(entries, 'founded').map(({ peer }) => peer)).toEqual(['new'])
  expect(returnedOf(entries)).toContainEqual({ step: 6, founder: 'peer-1', missing: [] })
  expect(entriesOf(entries, 'joined').every(({ coordinator }) => coordinator !== 'new')).toBe(true)
  expect(entriesOf(entries, 'joined').map(({ peer }) => peer)).toContain('new')
  expect(finished.every(({ committed }) => committed === 60)).toBe(true)
})

test('a run that vanishes before its first interval has its first step on disk', async () => {
  const run = runWith({ kept: { everySteps: 100 } })
  const { entries } = await play({ run, at: 4, back: all })
  expect(returnedOf(entries)).toContainEqual({ step: 1, founder: 'peer-1', missing: [] })
  expect(entriesOf(entries, 'step').at(-1)!.step).toBe(STEPS)
})

test('without a state on any disk nobody begins the run anew', async () => {
  const { entries, finished } = await play({
    at: 8,
    meanwhile: (disks) => {
      for (const name of disks.keys()) disks.set(name, new MemoryStore())
    },
    back: () => all().slice(0, 2),
  })
  expect(entriesOf(entries, 'step')).toEqual([])
  expect(finished.every(({ failure }) => failure?.includes('no peer of the run') ?? false)).toBe(
    true,
  )
})
