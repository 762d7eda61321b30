/** How long a real network keeps the addresses of other peers. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { systemClock } from '../../protocols/clock.ts'
import { Libp2pNetwork } from '../../protocols/libp2p.ts'
import { createNode, type Node, startNode } from '../../protocols/libp2p-node.ts'
import { Shunned } from '../../protocols/shunned.ts'
import { CALL, echo, failsWith, PROTOCOL } from '../conformance/network-fixture.ts'
import { createPeer, LOOPBACK } from './libp2p-fixture.ts'

const HOUR_MS = 3_600_000

let node: Node
let peer: Libp2pNetwork
let other: Libp2pNetwork
beforeEach(async () => {
  node = await createNode({ ...LOOPBACK, found: () => {} })
  peer = new Libp2pNetwork(node, systemClock, LOOPBACK.listen, new Shunned(systemClock))
  await startNode(node, LOOPBACK.listen)
  other = await createPeer()
  other.handle(PROTOCOL, echo)
  peer.handle(PROTOCOL, echo)
})
afterEach(async () => {
  vi.restoreAllMocks()
  await Promise.all([peer.stop(), other.stop()])
})

const known = async () => (await node.peerStore.all()).map(({ id }) => id.toString())

/** Moves the clock of libp2p. The clock of this program is another one. */
function later(hours: number): void {
  const now = Date.now
  vi.spyOn(Date, 'now').mockImplementation(() => now() + hours * HOUR_MS)
}

test('an address is dialled two hours after it was learned', async () => {
  peer.learn(other.self, other.addresses)
  await vi.waitFor(async () => expect(await known()).toEqual([other.self]))
  later(2)
  expect((await peer.call(other.self, PROTOCOL, { header: 1 }, CALL)).header).toBe(1)
})

test('a peer is dialled anew two hours after the first dial, once its connection broke', async () => {
  peer.learn(other.self, other.addresses)
  await peer.call(other.self, PROTOCOL, { header: 1 }, CALL)
  later(2)
  for (const connection of node.getConnections()) await connection.close()
  expect((await peer.call(other.self, PROTOCOL, { header: 2 }, CALL)).header).toBe(2)
})

test('a stranger leaves nothing behind when its connection ends', async () => {
  await other.connect(peer.addresses[0]!, CALL)
  await vi.waitFor(async () => expect(await known()).toEqual([other.self]))
  await other.stop()
  await vi.waitFor(async () => expect(await known()).toEqual([]))
})

test('a forgotten peer leaves nothing behind, also after a call to it', async () => {
  peer.learn(other.self, other.addresses)
  await peer.call(other.self, PROTOCOL, { header: 1 }, CALL)
  peer.forget(other.self)
  await other.stop()
  await vi.waitFor(async () => expect(await known()).toEqual([]))
  await failsWith(peer.call(other.self, PROTOCOL, { header: 2 }, CALL), 'UNREACHABLE')
  expect(await known()).toEqual([])
})
