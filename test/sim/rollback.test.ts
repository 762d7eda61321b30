/** A run whose policy has checkpoints ends with the bits of an undisturbed run, whatever stages it loses. */
import { expect, test } from 'vitest'
import { MemoryStore } from '../../sim/world/memory-store.ts'
import type { World } from '../../sim/world/world.ts'
import type { Entry } from '../../src/base/journal.ts'
import type { Store } from '../../src/checkpoint/store.ts'
import { reportOf } from '../../src/cli/report.ts'
import type { Run } from '../../src/run/run.ts'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 9

function runWith(policy: string[], mode: 'lazy' | 'sync' = 'lazy'): Run {
  return tinyRun({
    steps: STEPS,
    spares: 3,
    evaluation: { everySteps: 3, microbatches: 2 },
    recovery: tinyRecovery({ policy, checkpoint: { everySteps: 3, mode } }),
  })
}

interface Options {
  readonly run: Run
  readonly store?: Store
  /** Called with the world before time begins. */
  readonly onWorld?: (world: World) => void
  /** The holders of these stages are lost after this step. */
  readonly kill?: { readonly step: number; readonly stages: readonly number[] }
  readonly onEntry?: (entry: Entry) => void
}

interface History {
  readonly entries: Entry[]
  /** The weights of each stage's holder at the end. */
  readonly weights: Map<number, number[]>
}

async function play({
  run,
  store = new MemoryStore(),
  onWorld,
  kill,
  onEntry,
}: Options): Promise<History> {
  const swarm = new TestSwarm(run, { computeMs: () => 20 })
  onWorld?.(swarm.world)
  let killed = false
  swarm.onEntry((entry) => {
    onEntry?.(entry)
    if (killed || entry.type !== 'step' || entry.step !== kill?.step) return
    killed = true
    for (const stage of kill.stages) {
      const held = entriesOf(swarm.entries, 'held').findLast((each) => each.stage === stage)!
      swarm.kill(held.by)
    }
  })
  for (let i = 1; i <= run.stages + 4; i++) swarm.join(`peer-${i}`, { checkpoints: store })
  await swarm.end(3_600_000)
  const weights = new Map(swarm.saved.map(({ stage, weights }) => [stage, [...weights]]))
  return { entries: swarm.entries, weights }
}

const undisturbed = play({ run: runWith(['checkpoint']) })

/** The outcome of a run. A loss that a new coordinator measured again counts once. */
function outcomeOf({ entries, weights }: History) {
  const { losses, evaluations, committedOnce } = reportOf(entries, runWith(['checkpoint']))
  return {
    losses,
    evaluations: new Map(evaluations.map(({ step, loss }) => [step, loss])),
    committedOnce,
    weights,
  }
}

const notices = (entries: readonly Entry[]) =>
  entriesOf(entries, 'notice').map(({ message }) => message)

test.each([
  ['a stage in the middle', 7, [2], 6],
  ['the last stage', 8, [4], 6],
  ['the ends, and with them the coordinator', 7, [0], 6],
  ['two neighbours and the first', 5, [1, 2, 3], 3],
])('%s lost after step %i', async (_, step, stages, back) => {
  const history = await play({ run: runWith(['checkpoint']), kill: { step, stages } })
  const { entries } = history
  expect(entriesOf(entries, 'rollback')).toMatchObject([{ step: back, from: step, stages }])
  expect(outcomeOf(history)).toEqual(outcomeOf(await undisturbed))
  const { committedOnce, stepsGivenUp, recoveries } = reportOf(entries, runWith(['checkpoint']))
  expect({ committedOnce, stepsGivenUp }).toEqual({
    committedOnce: true,
    stepsGivenUp: step - back,
  })
  const rebuilt = recoveries.map(({ stage, strategy }) => [stage, strategy]).sort()
  expect(rebuilt).toEqual(stages.map((stage) => [stage, 'checkpoint']))
})

test('checkpoints change nothing of the training, and the last three stay', async () => {
  const store = new MemoryStore()
  const run = { ...runWith(['checkpoint']), steps: 13 }
  const saving = await play({ run, store })
  const plain = await play({ run: { ...run, recovery: { ...run.recovery, policy: ['copy'] } } })
  expect(outcomeOf(saving)).toEqual(outcomeOf(plain))
  expect(entriesOf(saving.entries, 'checkpoint').map(({ step }) => step)).toEqual([3, 6, 9, 12])
  const manifests = [...store.files.keys()].filter((name) => name.endsWith('manifest.json'))
  expect(manifests.map((name) => Number(/\d+/.exec(name)![0]))).toEqual([6, 9, 12])
  // The store has no file that no manifest names.
  expect([...store.files.keys()].filter((name) => name.includes('part-'))).toEqual([])
})

test('before the first checkpoint the next row of the policy is tried', async () => {
  const { entries } = await play({
    run: runWith(['checkpoint', 'checkfree']),
    kill: { step: 2, stages: [2] },
  })
  expect(entriesOf(entries, 'rollback')).toEqual([])
  const [recovery] = entriesOf(entries, 'held').filter(({ cause }) => cause === 'lost')
  const reason = 'there is no complete checkpoint yet'
  expect(recovery).toMatchObject({
    strategy: 'checkfree',
    skipped: [{ strategy: 'checkpoint', reason }],
  })
  expect(entriesOf(entries, 'step').at(-1)!.step).toBe(STEPS)
})

/** Flips a bit of a step's data. */
function spoil(store: MemoryStore, step: number): void {
  const data = new RegExp(`0${step}/.*[.]bin$`)
  const [name, content] = [...store.files].find(([name]) => data.test(name))!
  store.files.set(name, content.with(5, content[5]! ^ 1))
}

test('a damaged checkpoint is refused by name, and the one before it taken', async () => {
  const store = new MemoryStore()
  const history = await play({
    run: runWith(['checkpoint']),
    store,
    kill: { step: 7, stages: [3] },
    onEntry: (entry) => {
      if (entry.type !== 'checkpoint' || entry.step !== 6) return
      spoil(store, 6)
    },
  })
  expect(entriesOf(history.entries, 'rollback')).toMatchObject([{ step: 3, from: 7 }])
  expect(notices(history.entries)).toContainEqual(
    expect.stringMatching(/^checkpoint of step 6 refused: step 6: tensor .+ are damaged/),
  )
  expect(outcomeOf(history)).toEqual(outcomeOf(await undisturbed))
})

test('one that only a reader finds damaged is looked at again by all, and given up', async () => {
  const store = new MemoryStore()
  let damaged = false
  const history = await play({
    run: runWith(['checkpoint']),
    store,
    kill: { step: 7, stages: [3] },
    onEntry: (entry) => {
      // The damage comes after the verification and before the read.
      if (entry.type !== 'rollback' || damaged) return
      damaged = true
      spoil(store, 6)
    },
  })
  const back = entriesOf(history.entries, 'rollback').map(({ step, from }) => [from, step])
  expect(back).toEqual([
    [7, 6],
    [6, 3],
  ])
  expect(outcomeOf(history)).toEqual(outcomeOf(await undisturbed))
})

/** A store whose writes fail or take time. */
function storeWith(
  write: (name: string, write: () => Promise<void>) => Promise<void>,
): MemoryStore {
  const store = new MemoryStore()
  const plain = store.write.bind(store)
  store.write = (name, content) => write(name, () => plain(name, content))
  return store
}

test('a full disk costs the checkpoint, not the training', async () => {
  const store = storeWith(async (name, write) => {
    if (name.startsWith('step-000000000006/')) throw new Error('ENOSPC: no space left on device')
    await write()
  })
  const history = await play({
    run: runWith(['checkpoint']),
    store,
    kill: { step: 8, stages: [2] },
  })
  expect(notices(history.entries)).toContainEqual(
    expect.stringMatching(/^no checkpoint of step 6: peer-\d: ENOSPC/),
  )
  expect(entriesOf(history.entries, 'rollback')).toMatchObject([{ step: 3, from: 8 }])
  expect(outcomeOf(history)).toEqual(outcomeOf(await undisturbed))
})

/** A store in which each write of a step takes a number of milliseconds of the world's time. */
function slowStore(ms: (step: number) => number) {
  let world: World
  const store = storeWith(async (name, write) => {
    await world.clock.sleep(ms(Number(/\d+/.exec(name)![0])))
    await write()
  })
  const onWorld = (its: World) => {
    world = its
  }
  return { store, onWorld }
}

const virtualSeconds = ({ entries }: History) => entriesOf(entries, 'step').at(-1)!.at / 1000

test('a slow store costs checkpoints, not time; a synchronous one costs its time', async () => {
  // Two writes take two seconds each, while a step takes about one.
  const slow = (mode: 'lazy' | 'sync') =>
    play({ run: runWith(['checkpoint'], mode), ...slowStore((step) => (step === 3 ? 2_000 : 5)) })
  const [lazy, sync] = [await slow('lazy'), await slow('sync')]
  expect(notices(lazy.entries)).toContainEqual(
    expect.stringMatching(/^no checkpoint of step 6: .*its part of step 3 is still being written/),
  )
  expect(virtualSeconds(lazy)).toBeCloseTo(virtualSeconds(await undisturbed), 1)
  const saved = entriesOf(sync.entries, 'checkpoint')
  expect(saved.map(({ step }) => step)).toEqual([3, 6, 9])
  expect(saved[0]!.stalledSeconds).toBeCloseTo(4, 3)
  expect(virtualSeconds(sync)).toBeGreaterThan(virtualSeconds(await undisturbed) + 3.9)
  for (const history of [lazy, sync]) {
    expect(outcomeOf(history)).toEqual(outcomeOf(await undisturbed))
  }
})

test('a holder that is lost while it saves leaves the step before', async () => {
  const history = await play({
    run: runWith(['checkpoint']),
    kill: { step: 6, stages: [2] },
    ...slowStore((step) => (step === 6 ? 100 : 5)),
  })
  expect(notices(history.entries)).toContainEqual(
    expect.stringMatching(/^no checkpoint of step 6: peer-\d is gone, and had not saved its part/),
  )
  expect(entriesOf(history.entries, 'rollback')).toMatchObject([{ step: 3, from: 6 }])
  expect(outcomeOf(history)).toEqual(outcomeOf(await undisturbed))
})
