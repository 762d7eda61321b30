/** Each strategy that keeps copies or swaps stages recovers lost stages, in swarms that learn. */
import { describe, expect, test } from 'vitest'
import type { Entry } from '../../src/base/journal.ts'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const PEERS = 8
const LOST_AFTER = 7

type Recovery = Parameters<typeof tinyRecovery>[0]

interface Outcome {
  readonly entries: readonly Entry[]
  readonly recoveries: Extract<Entry, { type: 'held' }>[]
  /** Weights of a stage after a step, as its first holder had them. */
  readonly weights: (stage: number, step: number) => Float32Array
  /** Weights of a stage at the moment of its recovery. */
  readonly restored: (stage: number) => Float32Array
}

/** Plays a run in which holders of some stages are killed together, right after a commit. */
async function losing(stages: readonly number[], recovery: Recovery): Promise<Outcome> {
  const run = tinyRun({
    steps: 12,
    stages: 6,
    // Without replicas, the loss of a holder is the loss of its stage.
    spares: PEERS,
    model: { ...tinyRun().model, layers: 6 },
    recovery: tinyRecovery(recovery),
  })
  const swarm = new TestSwarm(run)
  const weights = new Map<string, Float32Array>()
  const restored = new Map<number, Float32Array>()
  const holders = new Map<number, string>()
  const weightsOf = (peer: string) => Float32Array.from(swarm.stages.get(peer)!.weights)
  swarm.onEntry((entry) => {
    if (entry.type === 'committed') {
      const key = `${entry.stage}/${entry.step}`
      if (!weights.has(key)) weights.set(key, weightsOf(entry.peer))
    }
    if (entry.type === 'held') {
      holders.set(entry.stage, entry.by)
      if (entry.cause === 'lost') restored.set(entry.stage, weightsOf(entry.by))
    }
    if (entry.type === 'step' && entry.step === LOST_AFTER) {
      for (const stage of stages) swarm.kill(holders.get(stage)!)
    }
  })
  for (let i = 1; i <= PEERS + stages.length; i++) swarm.join(`peer-${i}`)
  await swarm.end()
  const steps = entriesOf(swarm.entries, 'step')
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1))
  for (const { counted } of steps) expect(new Set(counted)).toEqual(new Set([run.microbatches]))
  const recoveries = entriesOf(swarm.entries, 'held').filter(({ cause }) => cause === 'lost')
  expect(recoveries.map(({ stage }) => stage).toSorted()).toEqual(stages)
  return {
    entries: swarm.entries,
    recoveries,
    weights: (stage, step) => weights.get(`${stage}/${step}`)!,
    restored: (stage) => restored.get(stage)!,
  }
}

describe('checkfree+', () => {
  test('restores the ends bit for bit, though their holder coordinated the run', async () => {
    const { recoveries, restored, weights } = await losing([0], { policy: ['checkfree+'] })
    const [recovery] = recoveries
    expect(recovery).toMatchObject({ strategy: 'checkfree+', learningRateScale: 1 })
    // The copy is from the last step, or from the step before if the last one was still in transfer.
    expect(recovery!.ofStep).toBeGreaterThanOrEqual(LOST_AFTER - 1)
    expect(restored(0)).toEqual(weights(0, recovery!.ofStep))
  })

  test.each([
    [1, 2],
    [6, 5],
  ])('copies stage %i from its twin %i, bit for bit', async (stage, twin) => {
    const { recoveries, restored, weights } = await losing([stage], { policy: ['checkfree+'] })
    expect(recoveries).toMatchObject([
      { strategy: 'checkfree+', ofStep: LOST_AFTER, learningRateScale: 1.1 },
    ])
    expect(restored(stage)).toEqual(weights(twin, LOST_AFTER))
  })
})

describe('shadow', () => {
  test('brings back the ends and two neighbours at once, each within the bound of int8', async () => {
    // The copies are kept by the holders of stages 3, 4 and 5.
    const lost = [0, 1, 2]
    const { recoveries, restored, weights } = await losing(lost, { policy: ['shadow'] })
    for (const { stage, strategy, ofStep } of recoveries) {
      expect(strategy).toBe('shadow')
      // Every fourth step has a copy, and one more copy may be in transfer.
      expect(ofStep).toBeGreaterThan(LOST_AFTER - 5)
      const was = weights(stage, ofStep)
      const is = restored(stage)
      const largest = Math.max(...was.map(Math.abs))
      const worst = Math.max(...was.map((x, i) => Math.abs(x - is[i]!)))
      expect(worst).toBeGreaterThan(0)
      expect(worst).toBeLessThanOrEqual(largest / 254 + 1e-7)
    }
  })

  test('a stage that is lost with one of its two keepers comes back from the other one', async () => {
    const { recoveries } = await losing([3, 6], { policy: ['shadow', 'checkfree', 'copy'] })
    expect(recoveries.map(({ strategy }) => strategy)).toEqual(['shadow', 'shadow'])
  })

  test('a stage that is lost with its only keeper goes to the next row of the policy, which says why', async () => {
    // Stage 6 keeps the copy of stage 3.
    const shadow = { ...tinyRecovery().shadow, keepers: 1 }
    const policy = ['shadow', 'checkfree', 'copy']
    const { recoveries } = await losing([3, 6], { policy, shadow })
    const [middle] = recoveries.filter(({ stage }) => stage === 3)
    expect(middle).toMatchObject({
      strategy: 'checkfree',
      skipped: [{ strategy: 'shadow', reason: 'no remaining member keeps a copy of stage 3' }],
    })
  })
})

describe('snapshot', () => {
  test('brings a stage and one of its keepers back, bit for bit', async () => {
    const { recoveries, restored, weights } = await losing([3, 6], { policy: ['snapshot'] })
    for (const { stage, strategy, ofStep } of recoveries) {
      expect(strategy).toBe('snapshot')
      expect(restored(stage)).toEqual(weights(stage, ofStep))
    }
  })
})
