/** Twelve identities of one host join five members, take part, and then go silent. */
import { expect, test } from 'vitest'
import { entriesOf, tinyRecovery, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const STEPS = 40
const HONEST = ['peer-1', 'peer-2', 'peer-3', 'peer-4', 'peer-5']
const NAMES = Array.from({ length: 12 }, (_, i) => `name-${i}`)

const run = tinyRun({
  stages: 2,
  steps: STEPS,
  // All members hold stages, so that the twelve would have twelve of seventeen votes.
  spares: 0,
  microbatches: 4,
  model: { ...tinyRun().model, layers: 2 },
  recovery: tinyRecovery({ policy: ['shadow', 'copy', 'random'] }),
})

function play(hosts: (peer: string) => string) {
  const swarm = new TestSwarm(run, { hosts })
  for (const name of HONEST) swarm.join(name)
  swarm.world.schedule(2_000, 'twelve names join', () => {
    for (const name of NAMES) swarm.join(name)
  })
  let isSilent = false
  swarm.onEntry((entry) => {
    if (isSilent || entry.type !== 'step' || entry.step !== 20) return
    isSilent = true
    for (const name of NAMES) swarm.kill(name)
  })
  return swarm
}

async function finish(swarm: TestSwarm) {
  const ended = HONEST.map((name) => swarm.peers.get(name)!.finished)
  return swarm.world.run(Promise.all(ended), { waitingFor: 'five members', untilMs: 600_000 })
}

test('steps go on: the twelve never have a majority of the votes', async () => {
  const swarm = play((peer) => (peer.startsWith('name-') ? '203.0.113.0/24' : `host of ${peer}`))
  const outcomes = await finish(swarm)
  for (const outcome of outcomes) expect(outcome).toMatchObject({ committed: STEPS, failure: null })
  const joined = entriesOf(swarm.entries, 'joined').filter(({ peer }) => NAMES.includes(peer))
  expect(joined).toHaveLength(12)
  expect(entriesOf(swarm.entries, 'incarnated')).toEqual([])
  const waits = entriesOf(swarm.entries, 'waiting').filter(({ reason }) => /majority/.test(reason))
  expect(waits).toEqual([])
})

test('without that bound they do, and those who are left go on by themselves after a minute', async () => {
  const swarm = play(() => '')
  await finish(swarm)
  expect(entriesOf(swarm.entries, 'incarnated').length).toBeGreaterThan(0)
})
