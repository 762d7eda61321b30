/** System calls of the changed @libp2p/tcp. The change uses undocumented names, and this test fails if the names change. */
import { Socket } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { CHUNK_BYTES } from '../../protocols/frame.ts'
import type { Libp2pNetwork } from '../../protocols/libp2p.ts'
import { CALL, noise, PROTOCOL, takesBody } from '../conformance/network-fixture.ts'
import { createPeer } from './libp2p-fixture.ts'

const peers: Libp2pNetwork[] = []
afterEach(async () => {
  vi.restoreAllMocks()
  for (const peer of peers.splice(0)) await peer.stop()
})

test('a tensor costs few system calls: one for each chunk, and one for each answer to a chunk', async () => {
  const [asker, answerer] = [await createPeer(), await createPeer()]
  peers.push(asker, answerer)
  answerer.handle(PROTOCOL, { ...takesBody, handle: async () => ({ header: null }) })
  const peer = await asker.connect(answerer.addresses[0]!, CALL)
  const ask = () => asker.call(peer, PROTOCOL, { header: null, body: noise(3 * CHUNK_BYTES) }, CALL)
  // The first calls open streams and grow windows.
  for (let i = 0; i < 8; i++) await ask()
  const one = vi.spyOn(Socket.prototype, '_write')
  const several = vi.spyOn(Socket.prototype, '_writev' as '_write')
  const asked = 10
  for (let i = 0; i < asked; i++) await ask()
  // A chunk has four Noise packets of two to four pieces each, which would take a dozen calls without corking. Here three
  // chunks leave, the first with the frame's head, and as many window updates, the last with the answer.
  expect(several.mock.calls.length + one.mock.calls.length).toBeLessThan(asked * 3 * 4)
})
