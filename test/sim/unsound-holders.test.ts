/** A holder that computes wrongly out of sound inputs, or fails to compute, and data that nobody can compute. */
import { describe, expect, test } from 'vitest'
import type { LearningStages } from '../../sim/learning-peers.ts'
import type { AnyStage } from '../../stages/stage.ts'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STAGES = 2
const STEPS = 30
/** The step from which on the fault is there. */
const FAULTY_STEP = 6

const run = tinyRun({
  stages: STAGES,
  steps: STEPS,
  spares: 0,
  microbatches: 4,
  model: { ...tinyRun().model, layers: STAGES },
  recovery: tinyRecovery({
    policy: ['shadow'],
    shadow: { ...tinyRecovery().shadow, everySteps: 2, endsEverySteps: 2 },
  }),
})

type Fault = (output: Float32Array) => Float32Array

const nan: Fault = (output) => output.fill(Number.NaN)
const broken: Fault = () => {
  throw new Error('the memory is bad')
}

/** Changes what the body stage of a host gives on. */
function faulty(stage: AnyStage, spoil: (output: Float32Array) => Float32Array): AnyStage {
  if (stage.kind !== 'body') return stage
  return new Proxy(stage, {
    get(target, name) {
      const value = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      const method = value.bind(target)
      if (name !== 'forwardKeeping') return method
      return async (input: Float32Array) => {
        const { output, kept } = await target.forwardKeeping(input)
        return { output: spoil(output), kept }
      }
    },
  })
}

/** Plays a swarm in which one holder of stage 1 is at fault. */
async function play(peers: number, spares: number, fault: Fault) {
  let victim: string | null = null
  let holders: string[] = []
  const wrap: LearningStages['wrap'] = (stage, _, { name }) =>
    faulty(stage, (output) => (name === victim ? fault(output) : output))
  const swarm = new TestSwarm({ ...run, spares }, { wrap })
  swarm.onEntry((entry) => {
    if (entry.type === 'roster') {
      holders = entry.roster.members.flatMap(({ stage, ready, peer }) =>
        stage === 1 && ready ? peer : [],
      )
    }
    if (entry.type === 'step' && entry.step === FAULTY_STEP - 1) victim = holders.at(-1)!
  })
  for (let i = 1; i <= peers; i++) swarm.join(`peer-${i}`)
  const ended = Promise.allSettled([...swarm.peers.values()].map(({ finished }) => finished))
  await swarm.world.run(ended, { waitingFor: 'all peers', untilMs: 600_000 })
  return {
    swarm,
    victim: victim!,
    sound: [...swarm.peers.keys()].filter((name) => name !== victim),
  }
}

describe.each([
  ['gives values that are not finite', nan, 'not finite'],
  ['fails to compute', broken, 'the memory is bad'],
])('a holder that %s', (_, fault, reason) => {
  test('beside a sound one loses its stage, and the run goes on', async () => {
    const { swarm, victim, sound } = await play(5, 0, fault)
    const { entries } = swarm
    expect(entriesOf(entries, 'step').at(-1)!.step).toBe(STEPS)
    const lost = entriesOf(entries, 'lost')
    expect(new Set(lost.map((entry) => entry.lost))).toEqual(new Set([victim]))
    expect(lost[0]!.reason).toContain(reason)
    for (const name of sound) {
      const told = entriesOf(entries, 'notice').filter(({ peer }) => peer === name)
      expect(told.map(({ message }) => message).join('\n')).toContain(`${victim} loses stage 1`)
      expect(entriesOf(entries, 'finished').find(({ peer }) => peer === name)).toMatchObject({
        committed: STEPS,
        failure: null,
      })
    }
  })

  test('as the only one loses its stage to a spare, and the run goes on', async () => {
    const { swarm, victim } = await play(4, 1, fault)
    const { entries } = swarm
    expect(entriesOf(entries, 'step').at(-1)!.step).toBe(STEPS)
    expect(entriesOf(entries, 'lost')).toMatchObject([{ lost: victim, stage: 1 }])
    const held = entriesOf(entries, 'held').at(-1)!
    expect(held).toMatchObject({ stage: 1, cause: 'lost', strategy: 'shadow' })
    expect(held.by).not.toBe(victim)
  })
})

test('a peer that is at fault again and again is refused in the end, with the reason', async () => {
  const { swarm, victim } = await play(5, 0, nan)
  const { entries } = swarm
  expect(entriesOf(entries, 'lost').map(({ lost }) => lost)).toEqual([victim, victim, victim])
  const refused = entriesOf(entries, 'refused').filter(({ from }) => from === victim)
  expect(refused.at(-1)!.reason).toContain('lost its stage 3 times for its own faults')
  expect(entriesOf(entries, 'step').at(-1)!.step).toBe(STEPS)
})
