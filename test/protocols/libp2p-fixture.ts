/** Real networks of this machine, on loopback only. */
import { systemClock } from '../../protocols/clock.ts'
import { createLibp2pNetwork, type Libp2pInit, type Libp2pNetwork } from '../../protocols/libp2p.ts'
import type { TestSwarm } from '../conformance/network.ts'

export const LOOPBACK: Libp2pInit = {
  listen: ['/ip4/127.0.0.1/tcp/0'],
  bootstrap: [],
  mdns: false,
}

export const createPeer = (init: Partial<Libp2pInit> = {}): Promise<Libp2pNetwork> =>
  createLibp2pNetwork({ ...LOOPBACK, ...init }, { clock: systemClock })

/** An identity that was made once and thrown away. */
export const STRANGER = '12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo'

/** Port 1 is reserved and, on machines that run tests, silent. */
export const NOWHERE = '/ip4/127.0.0.1/tcp/1'

export async function createSwarm(peerCount: number): Promise<TestSwarm> {
  const peers = await Promise.all(Array.from({ length: peerCount }, () => createPeer()))
  return {
    peers,
    clock: systemClock,
    stranger: STRANGER,
    nowhere: NOWHERE,
    run: (work) => work(),
    stop: async () => {
      await Promise.all(peers.map((peer) => peer.stop()))
    },
  }
}
