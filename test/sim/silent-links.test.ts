/** Connections that are dead though neither side was told, as after a change of address or a sleep. */
import { expect, test } from 'vitest'
import type { VirtualNetwork } from '../../sim/world/network.ts'
import { entriesOf, tinyRun } from '../fixtures/swarm.ts'
import { TestSwarm } from '../fixtures/virtual-swarm.ts'

/** The connection of two peers carries nothing until either has dialled anew. */
function silence(network: VirtualNetwork, one: string, other: string): void {
  let isNew = false
  network.disturb((from, to, kind) => {
    if ([from, to].toSorted().join() !== [one, other].toSorted().join() || isNew) return undefined
    if (kind !== 'handshake') return 'swallowed'
    isNew = true
    return undefined
  })
}

test.each([1, 2])(
  'the holder of stage %i stays a member when its connection to the coordinator goes silent',
  async (stage) => {
    const run = tinyRun({ stages: 2, steps: 8, spares: 0 })
    const swarm = new TestSwarm(run)
    for (const name of ['peer-1', 'peer-2', 'peer-3']) swarm.join(name)
    let holder: string | undefined
    swarm.onEntry((entry) => {
      if (entry.type === 'held' && entry.stage === stage) holder ??= entry.by
      if (entry.type !== 'step' || entry.step !== 3 || holder === undefined) return
      silence(swarm.network, 'peer-1', holder)
      holder = undefined
    })
    await swarm.end()
    expect(entriesOf(swarm.entries, 'step').at(-1)!.step).toBe(8)
    expect(entriesOf(swarm.entries, 'lost')).toEqual([])
    expect(entriesOf(swarm.entries, 'held').filter(({ cause }) => cause === 'lost')).toEqual([])
  },
)
