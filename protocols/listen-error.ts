/** Error for an address that a node cannot listen on, with a remedy for its user. */
import { multiaddr } from '@multiformats/multiaddr'

const EXAMPLE = '/ip4/127.0.0.1/tcp/4001'

/** Remedies by a text that occurs in the message of libp2p or of the operating system. */
const REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another process listens there: choose another --listen or stop the other process',
  EACCES: 'this user may not listen there: choose another --listen with a port above 1023',
  EADDRNOTAVAIL: 'this machine has no such address: choose another --listen',
  'No transport': `only TCP is listened on, as in ${EXAMPLE}`,
}

export class ListenError extends Error {
  override readonly name = 'ListenError'
  readonly address: string

  constructor(address: string, remedy: string, options?: ErrorOptions) {
    super(`cannot listen on ${address}: ${remedy}`, options)
    this.address = address
  }

  /** @throws ListenError if the text is no multiaddr */
  static check(address: string): void {
    try {
      multiaddr(address)
    } catch (cause) {
      throw new ListenError(address, `it is no address; one looks like ${EXAMPLE}`, { cause })
    }
  }

  /** Finds the cause in an error of libp2p, whose message lists each address with its own error. Undefined for other errors. */
  static from(error: unknown, addresses: readonly string[]): ListenError | undefined {
    if (!(error instanceof Error) || !error.name.startsWith('UnsupportedListenAddress')) return
    for (const address of addresses) {
      const start = error.message.indexOf(`${address}: `)
      if (start === -1) continue
      const line = error.message.slice(start + address.length + 2).split('\n', 1)[0]!
      const code = Object.keys(REMEDIES).find((known) => line.includes(known))
      return new ListenError(address, code === undefined ? line : REMEDIES[code]!, { cause: error })
    }
    return new ListenError(addresses.join(', '), error.message, { cause: error })
  }
}
