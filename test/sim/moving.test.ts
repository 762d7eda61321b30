/** Peers whose address changes while they are members. */
import { expect, test } from 'vitest'
import { entriesOf, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

const PEERS = ['peer-1', 'peer-2', 'peer-3', 'peer-4', 'peer-5', 'peer-6']
const STEPS = 26

/** Peer `mover` moves at step 15, when connections are older than two dials at one moment make them. */
async function swarmWith(mover: string): Promise<TestSwarm> {
  const swarm = new TestSwarm(tinyRun({ steps: STEPS }))
  for (const name of PEERS) swarm.join(name)
  let isDue = true
  swarm.onEntry(({ type, peer, ...entry }) => {
    if (!isDue || type !== 'step' || (entry as { step?: number }).step !== 15) return
    isDue = false
    swarm.network.move(mover)
  })
  await swarm.end(3_600_000)
  return swarm
}

test.each([
  ['the coordinator', 'peer-1'],
  ['a member', 'peer-2'],
  ['a spare', 'peer-6'],
])('%s that moves stays a member, and the roster has its new address', async (_, mover) => {
  const { entries } = await swarmWith(mover)
  expect(entriesOf(entries, 'step').at(-1)!.step).toBe(STEPS)
  expect(entriesOf(entries, 'lost')).toEqual([])
  expect(entriesOf(entries, 'held').filter(({ cause }) => cause === 'lost')).toEqual([])
  const { members } = entriesOf(entries, 'roster').at(-1)!.roster
  const addresses = members.flatMap(({ addresses: own }) => own)
  expect(addresses.toSorted()).toEqual(
    PEERS.map((name) => (name === mover ? `sim://${name}@1` : `sim://${name}`)),
  )
  const said = entriesOf(entries, 'notice').filter(({ message }) => message.includes('is reached'))
  expect(said.map(({ peer, message }) => [peer, message])).toEqual([
    [mover, `this peer is reached at sim://${mover}@1 from now on`],
  ])
})
