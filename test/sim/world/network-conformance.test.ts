import { VirtualNetwork } from '../../../sim/world/network.ts'
import { World } from '../../../sim/world/world.ts'
import { networkConformance } from '../../conformance/network.ts'

networkConformance('VirtualNetwork', async (peerCount) => {
  const world = new World({ seed: 1 })
  const network = new VirtualNetwork({
    world,
    links: () => ({ latencyMs: 5, bytesPerMs: 100_000 }),
  })
  const peers = Array.from({ length: peerCount }, (_, i) => network.join(`peer-${i}`))
  return {
    peers,
    clock: world.clock,
    stranger: 'nobody',
    nowhere: 'sim://nobody',
    run: (work) => world.run(work(), { waitingFor: 'the test to end' }),
    async stop() {
      for (const peer of peers) await peer.stop()
    },
  }
})
