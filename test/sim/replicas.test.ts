/** With replicas of every stage, the update equals that of an undisturbed swarm, for any loss at any time. */
import { beforeAll, describe, expect, test } from 'vitest'
import { entriesOf, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STAGES = 3
const PEERS = 2 * (STAGES + 1)
/** The step that is disturbed. */
const DISTURBED = 2
const STEPS = 4

// A large epsilon keeps AdamW smooth. With a small one the sign of a gradient that is only rounding decides an update.
const run = tinyRun({
  stages: STAGES,
  steps: STEPS,
  spares: 0,
  microbatches: 4,
  model: { ...tinyRun().model, layers: STAGES },
  optimizer: { ...tinyRun().optimizer, epsilon: 1e-2 },
})

async function started(): Promise<TestSwarm> {
  const swarm = new TestSwarm(run)
  for (let i = 1; i <= PEERS; i++) swarm.join(`peer-${i}`)
  return swarm
}

/** All weights at the end, by stage. The holders of each stage must have the same bits. */
function weightsOf(swarm: TestSwarm): Map<number, Float32Array> {
  const byStage = new Map<number, Float32Array>()
  for (const { stage, weights, peer } of swarm.saved) {
    const others = byStage.get(stage)
    const same = others?.every((value, i) => Object.is(value, weights[i])) ?? true
    expect(same, `bits of ${peer} and another of stage ${stage}`).toBe(true)
    byStage.set(stage, weights)
  }
  return byStage
}

function distance(a: Float32Array, b: Float32Array): number {
  const norm = (values: Float32Array) => Math.hypot(...values)
  return norm(a.map((value, i) => value - b[i]!)) / norm(b)
}

let undisturbed: Map<number, Float32Array>
/** Start and end of the step to be disturbed, in virtual ms. */
let from: number
let to: number
/** Time when the first holder has applied the step. */
let applied: number
let holders: { peer: string; stage: number }[]

beforeAll(async () => {
  const swarm = await started()
  await swarm.end()
  undisturbed = weightsOf(swarm)
  expect(undisturbed.size).toBe(STAGES + 1)
  expect(swarm.saved).toHaveLength(PEERS)
  const steps = entriesOf(swarm.entries, 'step')
  from = steps[DISTURBED - 2]!.at
  to = steps[DISTURBED - 1]!.at
  const committed = entriesOf(swarm.entries, 'committed')
  applied = committed.find(({ step }) => step === DISTURBED)!.at
  const { members } = entriesOf(swarm.entries, 'roster').at(-1)!.roster
  holders = members.map(({ peer, stage }) => ({ peer, stage: stage! }))
})

describe('a replica is killed in the middle of a step', () => {
  const POINTS = 30

  test.each(Array.from({ length: POINTS }, (_, i) => i))(
    'at point %i: each step is made once, and the weights are those of an undisturbed run',
    async (point) => {
      const swarm = await started()
      // The victim is each holder in turn, the coordinator and the drivers among them.
      const victim = holders[point % holders.length]!
      const at = from + ((to - from) * (point + 0.5)) / POINTS
      swarm.world.schedule(at, 'a replica is killed', () => swarm.kill(victim.peer))
      await swarm.end()
      const weights = weightsOf(swarm)
      expect(swarm.saved).toHaveLength(PEERS - 1)
      for (const [stage, expected] of undisturbed) {
        expect(distance(weights.get(stage)!, expected), `stage ${stage}`).toBeLessThan(1e-6)
      }
      const committed = entriesOf(swarm.entries, 'committed')
      for (let step = 1; step <= STEPS; step++) {
        const stages = committed.filter((entry) => entry.step === step).map(({ peer }) => peer)
        expect(new Set(stages).size, `step ${step}`).toBe(stages.length)
        expect(stages.length).toBeGreaterThanOrEqual(PEERS - 1)
      }
      // The loss was noticed by the coordinator, or by its successor.
      const noticed = entriesOf(swarm.entries, victim.peer === 'peer-1' ? 'elected' : 'lost')
      expect(noticed.length).toBeGreaterThan(0)
    },
  )
})

test('a replica that freezes while a step is applied is waited for only until it is missed', async () => {
  const swarm = await started()
  const victim = holders.find(({ peer }) => peer !== 'peer-1')!.peer
  // All members have agreed on the step, and the messages that say so are on their way.
  const frozenAt = applied - 30
  swarm.world.schedule(frozenAt, 'a replica freezes', () => {
    swarm.network.machineOf(victim).freeze()
  })
  let made: number | null = null
  swarm.onEntry((entry) => {
    if (made !== null || entry.type !== 'step' || entry.step !== DISTURBED) return
    made = entry.at
    swarm.kill(victim)
  })
  await swarm.end()
  // The time has a heartbeat, the silence after it, and one more question. The connection stays open.
  expect(made! - frozenAt).toBeLessThan(10_000)
  expect(made! - frozenAt).toBeGreaterThan(5_000)
  const steps = entriesOf(swarm.entries, 'step').map(({ step }) => step)
  expect(steps).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1))
})
