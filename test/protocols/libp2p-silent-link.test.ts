/** A TCP connection that is dead though neither side was told. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Libp2pNetwork } from '../../protocols/libp2p.ts'
import { REDIAL_MS } from '../../protocols/network.ts'
import { CALL, echo, failsWith, PROTOCOL } from '../conformance/network-fixture.ts'
import { createPeer } from './libp2p-fixture.ts'
import { relayTo, type SilentLink } from './silent-link.ts'

let peer: Libp2pNetwork
let other: Libp2pNetwork
let link: SilentLink
beforeEach(async () => {
  ;[peer, other] = await Promise.all([createPeer(), createPeer()])
  for (const each of [peer, other]) each.handle(PROTOCOL, echo)
  link = await relayTo(other.addresses[0]!)
  peer.learn(other.self, [link.address])
  await peer.call(other.self, PROTOCOL, { header: 1 }, CALL)
})
afterEach(async () => {
  vi.restoreAllMocks()
  link.stop()
  await Promise.all([peer.stop(), other.stop()])
})

const SHORT = { timeoutMs: 100 }

test('is used until it is ended, and then a new one is dialled', async () => {
  link.silence()
  const call = () => peer.call(other.self, PROTOCOL, { header: 2 }, SHORT)
  await failsWith(call(), 'TIMEOUT')
  await failsWith(call(), 'TIMEOUT')
  peer.disconnect(other.self)
  expect((await peer.call(other.self, PROTOCOL, { header: 3 }, CALL)).header).toBe(3)
})

test('ends its open calls when it is ended', async () => {
  link.silence()
  const call = peer.call(other.self, PROTOCOL, { header: 2 }, CALL)
  const failed = failsWith(call, 'PEER_LOST')
  await failsWith(peer.call(other.self, PROTOCOL, { header: 3 }, SHORT), 'TIMEOUT')
  peer.disconnect(other.self)
  await failed
})

test('gives way to the one that the other peer has dialled', async () => {
  link.silence()
  other.learn(peer.self, peer.addresses)
  other.disconnect(peer.self)
  await other.call(peer.self, PROTOCOL, { header: 2 }, CALL)
  link.refuse()
  peer.disconnect(other.self)
  expect((await peer.call(other.self, PROTOCOL, { header: 4 }, CALL)).header).toBe(4)
})

test('is ended when the other peer dials again later', async () => {
  link.silence()
  const failed = failsWith(peer.call(other.self, PROTOCOL, { header: 2 }, CALL), 'PEER_LOST')
  other.learn(peer.self, peer.addresses)
  other.disconnect(peer.self)
  const now = Date.now
  vi.spyOn(Date, 'now').mockImplementation(() => now() + 2 * REDIAL_MS)
  await other.call(peer.self, PROTOCOL, { header: 3 }, CALL)
  await failed
})
