/** Answering process of bench/link.ts, over libp2p, a plain socket and TLS. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { systemClock } from '../protocols/clock.ts'
import { createLibp2pNetwork } from '../protocols/libp2p.ts'
import { answerSocket } from './frame-socket.ts'
import { BODY_BYTES, IN_FLIGHT, type LinkAddresses, LOOPBACK, PROTOCOL, TLS } from './link.ts'

/** Preallocated buffers, one for each body that can be under way, as a node has them. */
const buffers = Array.from(
  { length: 2 * IN_FLIGHT },
  () => new Uint8Array(new SharedArrayBuffer(BODY_BYTES)),
)
let taken = 0
const accept = (length: number) => buffers[taken++ % buffers.length]!.subarray(0, length)

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

const network = await createLibp2pNetwork(LOOPBACK, { clock: systemClock })
network.handle(PROTOCOL, {
  accept: (_from, _header, length) => accept(length),
  handle: async () => ({ header: null }),
})
process.send!({
  libp2p: network.addresses[0]!,
  tcp: await listen(createServer((socket) => answerSocket(socket, accept))),
  tls: await listen(createTlsServer(TLS.server, (socket) => answerSocket(socket, accept))),
} satisfies LinkAddresses)
process.once('disconnect', () => process.exit())
