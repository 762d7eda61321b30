/** The real node in a virtual world: it trains, loses a stage, recovers it, and does so twice in the same way. */
import { expect, test } from 'vitest'
import { VirtualNetwork } from '../../sim/world/network.ts'
import { timedStage } from '../../sim/world/stage.ts'
import { World } from '../../sim/world/world.ts'
import type { Entry } from '../../src/base/journal.ts'
import { stageConfig } from '../../src/run/run.ts'
import { createLocalStage } from '../../stages/onnx-stage.ts'
import { Random } from '../../stages/random.ts'
import { createWorkerStage } from '../../stages/worker-stage.ts'
import { entriesOf, startPeer, tinyCorpus, tinyRun } from '../fixtures/swarm.ts'

/** Early in the third step. */
const KILLED_AT_MS = 5_000

async function train(create: typeof createLocalStage): Promise<Entry[]> {
  const run = tinyRun()
  const world = new World({ seed: run.seed })
  const { clock } = world
  const speed = world.random.stream('speed')
  const network = new VirtualNetwork({
    world,
    links: () => ({ latencyMs: 20, bytesPerMs: 1250 }),
  })
  const journal: Entry[] = []
  const options = { provider: 'cpu', threads: 1, random: new Random(run.seed) } as const
  const createStage = async (index: number) => {
    const building = () => create(stageConfig(run), index, options)
    const stage = await world.compute(100, 'building a stage', building)
    return timedStage(stage, world, (method) => (method === 'close' ? 0 : 100 + speed.integer(10)))
  }
  const onEntry = (entry: Entry) => journal.push(entry)
  const swarm = { run, corpus: tinyCorpus(), clock, onEntry }
  const peers = Array.from({ length: run.stages + 2 }, (_, i) => {
    const peer = network.join(`peer-${i}`)
    peer.learn('peer-0', ['sim://peer-0'])
    return startPeer(peer, i === 0 ? null : 'peer-0', swarm, { createStage })
  })
  const victim = peers[2]!
  world.schedule(KILLED_AT_MS, 'a peer is killed', () => {
    network.kill(victim.network.self)
    victim.stop()
  })
  await world.run(Promise.all(peers.map(({ finished }) => finished)), {
    waitingFor: 'all nodes to end',
    untilMs: 600_000,
  })
  return journal
}

test('a stage is lost and averaged in virtual time, to the last bit the same in any real time', async () => {
  const journal = await train(createLocalStage)
  expect(entriesOf(journal, 'step').map(({ step }) => step)).toEqual([1, 2, 3, 4])
  const lost = entriesOf(journal, 'held').filter(({ cause }) => cause === 'lost')
  expect(lost).toMatchObject([{ stage: 2, strategy: 'checkfree' }])
  // Threads end their work in whatever order they like.
  expect(await train(createWorkerStage)).toEqual(journal)
})
