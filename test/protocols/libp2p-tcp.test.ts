/** What @libp2p/tcp is made to do by way of names that it does not promise: if they change, this is where it shows. */
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

test('a tensor costs few system calls: one a chunk, and one for each answer to it', async () => {
  const [asker, answerer] = [await createPeer(), await createPeer()]
  peers.push(asker, answerer)
  answerer.handle(PROTOCOL, { ...takesBody, handle: async () => ({ header: null }) })
  const peer = await asker.connect(answerer.addresses[0]!, CALL)
  const ask = () => asker.call(peer, PROTOCOL, { header: null, body: noise(3 * CHUNK_BYTES) }, CALL)
  // Windows grow, streams open.
  for (let i = 0; i < 8; i++) await ask()
  const one = vi.spyOn(Socket.prototype, '_write')
  const several = vi.spyOn(Socket.prototype, '_writev' as '_write')
  const asked = 10
  for (let i = 0; i < asked; i++) await ask()
  // A chunk is four Noise packets of two to four pieces each: uncorked it would be a dozen calls. Ours are three
  // chunks with the frame's head, and as many window updates, the last of which leaves with the answer.
  expect(several.mock.calls.length + one.mock.calls.length).toBeLessThan(asked * 3 * 4)
})
