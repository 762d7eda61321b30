/** A guest: a peer that connects to peers of a run without joining it. */
import type { Clock } from '../../protocols/clock.ts'
import { createLibp2pNetwork } from '../../protocols/libp2p.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { knownAddresses } from '../base/data-dir.ts'
import { InputError } from '../base/errors.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { Door } from '../run/door.ts'

/** Options of a guest. */
export interface GuestOptions {
  readonly runId: string
  readonly door: Door
  /** Addresses of peers of the run; undefined for the peers of this machine, from the data directory. */
  readonly addresses: readonly string[] | undefined
  readonly dataDir: string
  /** Name of the option for addresses, for messages. */
  readonly option: string
  readonly clock: Clock
  readonly signal?: AbortSignal | undefined
}

/**
 * Connects to all peers that answer, calls `visit`, and disconnects.
 * @throws InputError if no peer answers
 */
export async function asGuest<T>(
  { runId, door, addresses, dataDir, option, clock, signal }: GuestOptions,
  visit: (network: Network, peers: readonly PeerId[]) => Promise<T>,
): Promise<T> {
  const network = await createLibp2pNetwork(
    { listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap: [], mdns: null, prologue: door.prologue },
    { clock },
  )
  try {
    const failures: string[] = []
    const peers: PeerId[] = []
    for (const address of addresses ?? knownAddresses(dataDir, runId)) {
      try {
        peers.push(await network.connect(address, { timeoutMs: TIMEOUTS.connectMs, signal }))
      } catch (error) {
        failures.push((error as Error).message)
      }
    }
    if (peers.length === 0) {
      const why = failures.length > 0 ? ` (${failures.join('; ')})` : ''
      throw new InputError(
        `No peer of run ${runId.slice(0, 12)} can be reached${why}. Name one by ${option}, or start the run with \`gensyn-node join\`.`,
      )
    }
    return await visit(network, peers)
  } finally {
    await network.stop()
  }
}
