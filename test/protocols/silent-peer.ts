/** A process of its own that takes every question and never answers, for tests that kill it. */
import { forever, PROTOCOL, takesBody } from '../conformance/network-fixture.ts'
import { createPeer } from './libp2p-fixture.ts'

const peer = await createPeer()
peer.handle(PROTOCOL, {
  ...takesBody,
  handle() {
    process.send!('asked')
    return forever
  },
})
process.send!(peer.addresses[0])
process.once('disconnect', () => process.exit())
