/** A relay before a peer whose connections can go silent without an end, as when a machine changes its address. */
import { connect, createServer, type Server, type Socket } from 'node:net'

export interface SilentLink {
  /** Address of the relay in place of the peer's. */
  readonly address: string
  /** From now on the connections so far carry nothing, and neither side is told. New connections work. */
  silence(): void
  /** From now on nobody can connect to the relay. */
  refuse(): void
  stop(): void
}

/** @param address multiaddr of a peer on 127.0.0.1, with its peer id */
export async function relayTo(address: string): Promise<SilentLink> {
  const [, port, peer] = /^\/ip4\/127\.0\.0\.1\/tcp\/(\d+)\/p2p\/(.+)$/.exec(address)!
  const sockets = new Set<Socket>()
  const server: Server = createServer((from) => {
    const to = connect(Number(port), '127.0.0.1')
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      sockets.add(one)
      one.pipe(other)
      one.on('error', () => other.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port: own } = server.address() as { port: number }
  return {
    address: `/ip4/127.0.0.1/tcp/${own}/p2p/${peer}`,
    silence() {
      for (const socket of sockets) socket.unpipe().pause()
    },
    refuse: () => server.close(),
    stop() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
