/** The real node in a virtual world trains, loses a stage and recovers it. Two runs give the same journal. */
import { expect, test } from 'vitest'
import type { Entry } from '../../src/base/journal.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { Random } from '../../stages/random.ts'
import { createWorkerStage } from '../../stages/worker-stage.ts'
import { entriesOf, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

/** Virtual time of the kill, early in the third step. */
const KILLED_AT_MS = 5_000

async function train(create: typeof createLocalStage): Promise<Entry[]> {
  const run = tinyRun()
  const speed = new Random('speed')
  const swarm = new TestSwarm(run, { create, computeMs: () => 100 + speed.integer(10) })
  for (let i = 1; i <= run.stages + 2; i++) swarm.join(`peer-${i}`)
  swarm.world.schedule(KILLED_AT_MS, 'a peer is killed', () => swarm.kill('peer-3'))
  await swarm.end()
  return swarm.entries
}

test('a stage is lost and averaged in virtual time, to the last bit the same in any real time', async () => {
  const journal = await train(createLocalStage)
  expect(entriesOf(journal, 'step').map(({ step }) => step)).toEqual([1, 2, 3, 4])
  const lost = entriesOf(journal, 'held').filter(({ cause }) => cause === 'lost')
  expect(lost).toMatchObject([{ stage: 2, strategy: 'checkfree' }])
  // Threads may end their work in any order.
  expect(await train(createWorkerStage)).toEqual(journal)
})
