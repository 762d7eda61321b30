/** Process that accepts every question and never answers, for tests that kill the process. */
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
