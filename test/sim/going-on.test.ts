/** A swarm that has shrunk permanently continues with fewer stages by itself, as after a manual reshard. */
import { expect, test } from 'vitest'
import { MemoryStore } from '../../sim/world/memory-store.ts'
import type { Entry } from '../../src/base/journal.ts'
import { openResume, type Resume, resumeAt } from '../../src/holder/resume.ts'
import type { NodeOptions } from '../../src/node/node.ts'
import { type Run, runId, withStages } from '../../src/run/run.ts'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 14
const SAVED_EVERY = 3
const AFTER_MS = 60_000
const base = tinyRun()

function runOf(stages = 4): Run {
  return tinyRun({
    stages,
    steps: STEPS,
    spares: 0,
    microbatches: 2,
    model: { ...base.model, layers: 4 },
    // Clipping by each stage's own norm would depend on the number of stages.
    optimizer: { ...base.optimizer, clip: 'whole', schedule: 'cosine', clipNorm: 0.5 },
    recovery: tinyRecovery({
      policy: ['checkpoint'],
      checkpoint: { everySteps: SAVED_EVERY, mode: 'sync' },
    }),
  })
}

/** Virtual time does not advance while files are read. */
function timed({ origin, load }: Resume, { world }: TestSwarm): Resume {
  return { origin, load: (...of) => world.compute(10, 'reading a stage', () => load(...of)) }
}

/** Options with which a process continues in the successor of its run. */
function goingOn(swarm: TestSwarm, name: string, store: MemoryStore): Partial<NodeOptions> {
  return {
    checkpoints: store,
    reshardAfterMs: AFTER_MS,
    openSuccessor: (run, _, origin) => ({
      createStage: (index) => swarm.build(name, run, index),
      resume: timed(resumeAt(run, store, origin), swarm),
    }),
  }
}

function joinGoingOn(swarm: TestSwarm, name: string, store: MemoryStore): void {
  swarm.join(name, goingOn(swarm, name, store))
}

/** Calls `then` once, at the first entry that matches. */
function once(swarm: TestSwarm, matches: (entry: Entry) => boolean, then: () => void): void {
  let done = false
  swarm.onEntry((entry) => {
    if (done || !matches(entry)) return
    done = true
    then()
  })
}

const isStep = (step: number) => (entry: Entry) => entry.type === 'step' && entry.step === step

/** Steps that were made with this number of stages. */
function lossesIn(swarm: TestSwarm, stages: number) {
  return entriesOf(swarm.entries, 'step').filter(({ counted }) => counted.length === stages + 1)
}

async function byHand(store: MemoryStore, stages: number, step: number): Promise<TestSwarm> {
  const run = withStages(runOf(), stages, 'the test')
  const swarm = new TestSwarm(run)
  const resume = timed(await openResume(run, store, { step, notice: () => {} }), swarm)
  for (let i = 1; i <= stages + 1; i++) {
    swarm.join(`peer-${i}`, { resume, checkpoints: new MemoryStore() })
  }
  await swarm.end(3_600_000)
  return swarm
}

test('two of five are gone for good: the three go on with two stages, as if resharded by hand', async () => {
  const store = new MemoryStore()
  const swarm = new TestSwarm(runOf())
  for (let i = 1; i <= 5; i++) joinGoingOn(swarm, `peer-${i}`, store)
  let goneAt = 0
  once(swarm, isStep(8), () => {
    goneAt = swarm.world.clock.now()
    for (const name of ['peer-3', 'peer-5']) swarm.kill(name)
  })
  await swarm.end(3_600_000)

  const moved = entriesOf(swarm.entries, 'resharded')
  expect(moved.map(({ peer }) => peer).sort()).toEqual(['peer-1', 'peer-2', 'peer-4'])
  for (const { run, stages, step, committed, at } of moved) {
    expect(run).toEqual({ from: runId(runOf()), to: runId(withStages(runOf(), 2, 'the test')) })
    expect(stages).toEqual({ from: 4, to: 2 })
    expect([step, committed]).toEqual([6, 8])
    expect(at).toBeGreaterThan(goneAt + AFTER_MS)
  }
  const made = lossesIn(swarm, 2)
  expect(made.map(({ step }) => step)).toEqual(Array.from({ length: STEPS - 6 }, (_, i) => 7 + i))
  const hand = lossesIn(await byHand(store, 2, 6), 2)
  expect(made.map(({ loss }) => loss)).toEqual(hand.map(({ loss }) => loss))
  for (const { finished } of swarm.peers.values()) expect((await finished).failure).toBeNull()
})

test('who comes with the old manifest is told, and joins what the run became', async () => {
  const store = new MemoryStore()
  const swarm = new TestSwarm(runOf())
  for (let i = 1; i <= 5; i++) joinGoingOn(swarm, `peer-${i}`, store)
  once(swarm, isStep(8), () => {
    for (const name of ['peer-3', 'peer-5']) swarm.kill(name)
  })
  const isNewStep = (entry: Entry) =>
    entry.type === 'step' && entry.step === 9 && entry.counted.length === 3
  once(swarm, isNewStep, () => {
    joinGoingOn(swarm, 'peer-6', store)
  })
  await swarm.end(3_600_000)
  const [told] = entriesOf(swarm.entries, 'resharded').filter(({ peer }) => peer === 'peer-6')
  expect(told!.stages).toEqual({ from: 4, to: 2 })
  expect(entriesOf(swarm.entries, 'joined').map(({ peer }) => peer)).toContain('peer-6')
  expect(entriesOf(swarm.entries, 'step').at(-1)!.step).toBe(STEPS)
})

test('it can shrink again', async () => {
  const store = new MemoryStore()
  const swarm = new TestSwarm(runOf())
  for (let i = 1; i <= 5; i++) joinGoingOn(swarm, `peer-${i}`, store)
  once(swarm, isStep(4), () => {
    for (const name of ['peer-3', 'peer-5']) swarm.kill(name)
  })
  const isLater = (entry: Entry) =>
    entry.type === 'step' && entry.step === 8 && entry.counted.length === 3
  once(swarm, isLater, () => swarm.kill('peer-4'))
  await swarm.end(3_600_000)
  expect(new Set(entriesOf(swarm.entries, 'resharded').map(({ stages }) => stages.to))).toEqual(
    new Set([2, 1]),
  )
  expect(lossesIn(swarm, 1).at(-1)!.step).toBe(STEPS)
})

test('a minority never does, if the manifest says that it waits', async () => {
  const store = new MemoryStore()
  const swarm = new TestSwarm({ ...runOf(), majority: 'wait' })
  for (let i = 1; i <= 5; i++) joinGoingOn(swarm, `peer-${i}`, store)
  const minority = new Set(['peer-1', 'peer-2'])
  let healed = false
  once(swarm, isStep(8), () => {
    const heal = swarm.network.disturb((from, to) =>
      minority.has(from) !== minority.has(to) ? 'blocked' : undefined,
    )
    swarm.world.schedule(3 * AFTER_MS, 'the partition heals', () => {
      healed = true
      const early = entriesOf(swarm.entries, 'resharded').map(({ peer }) => peer)
      expect(early.filter((peer) => minority.has(peer))).toEqual([])
      expect(early).toHaveLength(3)
      heal()
    })
  })
  await swarm.end(3_600_000)
  expect(healed).toBe(true)
})
