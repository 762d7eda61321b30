/** A stage whose thread dies costs its peer the stage. If the peer coordinates, it costs it the coordination, too. */
import { expect, test } from 'vitest'
import { OWN_FAULTS_MAX } from '../../src/base/limits.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { StageGoneError } from '../../stages/stage-calls.ts'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 12
const run = tinyRun({ steps: STEPS })
/** Calls to the faulty stage before its thread dies: it has made two steps then. */
const CALLS = 25

/** Plays a swarm. The threads of the first `deaths` stages with this index die. */
async function played(faultyIndex: number, deaths: number, peers = 6) {
  let built = 0
  const create = async (...args: Parameters<typeof createLocalStage>) => {
    const stage = await createLocalStage(...args)
    if (args[1] !== faultyIndex || built++ >= deaths) return stage
    let calls = 0
    const mortal = Object.entries(stage).map(([name, value]) => {
      if (typeof value !== 'function' || name === 'close') return [name, value]
      const method = value as (...inputs: unknown[]) => Promise<unknown>
      const call = async (...inputs: unknown[]) => {
        if (++calls > CALLS) throw new StageGoneError(`the thread of stage ${faultyIndex} died`)
        return method(...inputs)
      }
      return [name, call]
    })
    return Object.fromEntries(mortal)
  }
  const recovery = tinyRecovery({
    policy: ['shadow', 'copy'],
    shadow: { ...tinyRecovery().shadow, everySteps: 1, endsEverySteps: 1, weights: 'float32' },
  })
  const swarm = new TestSwarm({ ...run, recovery }, { create: create as typeof createLocalStage })
  let founds = true
  swarm.join('peer-1', {
    discover: async (enter) => {
      if (!founds) return enter('peer-2')
      founds = false
      return null
    },
  })
  for (let i = 2; i <= peers; i++) swarm.join(`peer-${i}`)
  swarm.onEntry(({ type, peer }) => {
    if (type === 'finished' && peer === 'peer-3' && peers < 6) swarm.join('peer-6')
  })
  const ends = [...swarm.peers.values()].map(({ finished }) => finished)
  const settled = Promise.all(ends)
  await swarm.world.run(settled, { waitingFor: 'all to end', untilMs: 600_000 })
  return { entries: swarm.entries, finished: await Promise.all(ends) }
}

test.each([
  ['a member', 2, 'peer-3'],
  ['the coordinator', 0, 'peer-1'],
])('the stage of %s is taken over, and all end with the last step', async (_, stage, victim) => {
  const { entries, finished } = await played(stage, 1)
  for (const each of finished) expect(each).toEqual({ committed: STEPS, failure: null })
  const [recovery] = entriesOf(entries, 'held').filter(({ cause }) => cause === 'lost')
  expect(recovery).toMatchObject({ stage, strategy: 'shadow', by: 'peer-6' })
  const told = entriesOf(entries, 'notice').filter(({ message }) =>
    message.includes('died. This peer'),
  )
  expect(told.map(({ peer }) => peer)).toEqual([victim])
})

test('a peer whose stages die again and again leaves, and says what to check', async () => {
  // No spare is there, so that the peer takes the stage again each time. A joiner takes it in the end.
  // The coordinator takes one of its stages away before it dies.
  const { entries, finished } = await played(2, OWN_FAULTS_MAX + 1, 5)
  const [victim] = finished.filter(({ failure }) => failure !== null)
  expect(victim!.failure).toContain(`has lost ${OWN_FAULTS_MAX} stages within an hour`)
  expect(victim!.failure).toContain('Check its memory')
  const recoveries = entriesOf(entries, 'held').filter(({ cause }) => cause === 'lost')
  expect(recoveries[0]!.by).toBe('peer-3')
  expect(recoveries.at(-1)!.by).toBe('peer-6')
  expect(entriesOf(entries, 'step').at(-1)!.step).toBe(STEPS)
})
