/** A lost stage is recovered from its understudy, so that the run continues as if no peer had been lost. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Link } from '../../sim/world/wire.ts'
import type { Entry } from '../../src/base/journal.ts'
import type { Run } from '../../src/run/run.ts'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STAGES = 4
const STEPS = 10
const LOST_AFTER = 5

/** Holders that are killed together, at a number of virtual ms after a step. */
interface Kill {
  readonly stages: readonly number[]
  readonly after: number
  readonly delayMs?: number
}

interface Options {
  readonly policy?: readonly string[]
  readonly microbatch?: Run['microbatch']
  readonly link?: Link
}

interface Outcome {
  readonly entries: readonly Entry[]
  readonly losses: number[]
  /** Weights at the end, by stage. */
  readonly weights: ReadonlyMap<number, Float32Array>
  readonly recoveries: Extract<Entry, { type: 'held' }>[]
}

async function outcomeOf(kills: readonly Kill[] = [], options: Options = {}): Promise<Outcome> {
  const { policy = ['redundant'], microbatch = tinyRun().microbatch, link } = options
  const lost = kills.reduce((sum, { stages }) => sum + stages.length, 0)
  const peers = STAGES + 1 + lost
  const run = tinyRun({
    steps: STEPS,
    stages: STAGES,
    // Without replicas, the loss of a holder is the loss of its stage.
    spares: peers,
    microbatch,
    recovery: tinyRecovery({ policy: [...policy] }),
  })
  const swarm = new TestSwarm(run, { link })
  const holders = new Map<number, string>()
  swarm.onEntry((entry) => {
    if (entry.type === 'held') holders.set(entry.stage, entry.by)
    if (entry.type !== 'step') return
    for (const { stages, after, delayMs = 0 } of kills) {
      if (after !== entry.step) continue
      const victims = stages.map((stage) => holders.get(stage)!)
      const kill = () => {
        for (const victim of victims) swarm.kill(victim)
      }
      if (delayMs === 0) kill()
      else swarm.world.schedule(delayMs, 'holders are killed', kill)
    }
  })
  for (let i = 1; i <= peers; i++) swarm.join(`peer-${i}`)
  await swarm.end()
  const { entries } = swarm
  const steps = entriesOf(entries, 'step')
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1))
  return {
    entries,
    losses: steps.map(({ loss }) => loss),
    weights: new Map(swarm.saved.map(({ stage, weights }) => [stage, weights])),
    recoveries: entriesOf(entries, 'held').filter(({ cause }) => cause === 'lost'),
  }
}

let undisturbed: Outcome

beforeAll(async () => {
  undisturbed = await outcomeOf()
})

function expectEqual({ losses, weights }: Outcome, other: Outcome): void {
  expect(losses).toEqual(other.losses)
  expect(weights.size).toBe(STAGES + 1)
  for (const [stage, expected] of other.weights) {
    expect(weights.get(stage), `stage ${stage}`).toEqual(expected)
  }
}

const STAGES_AND_THOSE_BEFORE = [
  ['a stage of the middle', 2, 1],
  ['the first stage, whose understudy holds the ends', 1, 0],
  ['the ends, whose understudy holds the last stage', 0, STAGES],
] as const

test.each(STAGES_AND_THOSE_BEFORE)('%s comes back exactly', async (_, stage, before) => {
  const outcome = await outcomeOf([{ stages: [stage], after: LOST_AFTER }])
  const [recovery] = outcome.recoveries
  expect(recovery).toMatchObject({
    stage,
    strategy: 'redundant',
    ofStep: LOST_AFTER,
    learningRateScale: 1,
    skipped: [],
  })
  const holder = entriesOf(outcome.entries, 'held').find((held) => held.stage === before)!
  expect(recovery!.donors).toEqual([{ stage, peer: holder.by, copy: null }])
  expectEqual(outcome, undisturbed)
})

describe.each([2, 0])('stage %d', (stage) => {
  // At 0.8 the holder of stage 2 has reported its gradient's norm, and its understudy lacks the gradient.
  test.each([0.5, 0.8, 0.9, 0.97])(
    'comes back exactly from where %d of a step is made',
    async (part) => {
      const steps = entriesOf(undisturbed.entries, 'step')
      const [from, to] = [steps[LOST_AFTER - 1]!.at, steps[LOST_AFTER]!.at]
      const outcome = await outcomeOf([
        { stages: [stage], after: LOST_AFTER, delayMs: part * (to - from) },
      ])
      expect(outcome.recoveries).toMatchObject([{ strategy: 'redundant', stage }])
      expectEqual(outcome, undisturbed)
    },
  )
})

test('two stages apart come back exactly at once, and a stage a second time from the same understudy', async () => {
  const outcome = await outcomeOf([
    { stages: [1, 3], after: LOST_AFTER },
    { stages: [1, 3], after: LOST_AFTER + 2 },
  ])
  expect(outcome.recoveries.map(({ strategy }) => strategy)).toEqual(Array(4).fill('redundant'))
  // The understudies keep their state, and no understudy fetches a state that it has.
  const fetched = entriesOf(outcome.entries, 'copied').filter(
    ({ seconds, bytes, step, stage }) =>
      step >= LOST_AFTER && [1, 3].includes(stage) && seconds > 0 && bytes > 0,
  )
  const steps = fetched.filter(({ stage }) => stage === 1).map(({ step }) => step)
  expect(steps).toEqual(Array.from({ length: STEPS - LOST_AFTER + 1 }, (_, i) => LOST_AFTER + i))
  expectEqual(outcome, undisturbed)
})

test('a new holder learns the stage after its own while steps are made, and then gives it back exactly', async () => {
  // The link is slow and activations are small compared with stages, so the state takes longer than a step.
  const link = { latencyMs: 20, bytesPerMs: 20 }
  const options = { link, microbatch: { batch: 1, context: 4 } }
  const expected = await outcomeOf([], options)
  const outcome = await outcomeOf(
    [
      { stages: [STAGES], after: 2 },
      { stages: [0], after: 8 },
    ],
    options,
  )
  const [last, ends] = outcome.recoveries
  expect(ends).toMatchObject({ strategy: 'redundant', stage: 0, ofStep: 8 })
  expect(ends!.donors).toEqual([{ stage: 0, peer: last!.by, copy: null }])
  const copied = entriesOf(outcome.entries, 'copied').filter(({ peer }) => peer === last!.by)
  const whole = copied.find(({ bytes }) => bytes > copied.at(-1)!.bytes)!
  // Steps were made during the fetch, and were applied after it.
  const earlier = copied.slice(0, copied.indexOf(whole))
  expect(earlier.filter(({ step }) => step > whole.step).length).toBeGreaterThan(0)
  expectEqual(outcome, expected)
})

test('a stage that is lost with its understudy goes to the next row of the policy, which says why', async () => {
  const outcome = await outcomeOf([{ stages: [2, 3], after: LOST_AFTER }], {
    policy: ['redundant', 'copy'],
  })
  const of = (stage: number) => outcome.recoveries.find((each) => each.stage === stage)
  expect(of(2)).toMatchObject({ strategy: 'redundant', ofStep: LOST_AFTER })
  expect(of(3)).toMatchObject({
    strategy: 'copy',
    skipped: [{ strategy: 'redundant', reason: 'no remaining member is an understudy of stage 3' }],
  })
})

test('what it takes while nothing fails is in the journal: four bytes a weight and step, of every stage', () => {
  const copied = entriesOf(undisturbed.entries, 'copied')
  for (const [stage, { byteLength }] of undisturbed.weights) {
    const own = copied.filter((entry) => entry.stage === stage)
    expect(own.map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1))
    for (const { bytes, seconds } of own) {
      expect(bytes).toBe(byteLength)
      expect(seconds).toBeGreaterThan(0)
    }
  }
})
