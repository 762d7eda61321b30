/** A peer that talks to those of a run and does not join it. */
import type { Clock } from '../../protocols/clock.ts'
import { createLibp2pNetwork } from '../../protocols/libp2p.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { knownAddresses } from '../base/data-dir.ts'
import { InputError } from '../base/errors.ts'
import { TIMEOUTS } from '../base/limits.ts'

export interface GuestOptions {
  readonly runId: string
  /** Of peers of the run; undefined for those on this machine, which the data directory knows. */
  readonly addresses: readonly string[] | undefined
  readonly dataDir: string
  /** The option that names addresses, for messages. */
  readonly option: string
  readonly clock: Clock
  readonly signal?: AbortSignal | undefined
}

/**
 * Runs `visit` connected to all that answer, and leaves after it.
 * @throws InputError if nobody does
 */
export async function asGuest<T>(
  { runId, addresses, dataDir, option, clock, signal }: GuestOptions,
  visit: (network: Network, peers: readonly PeerId[]) => Promise<T>,
): Promise<T> {
  const network = await createLibp2pNetwork(
    { listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap: [], mdns: null },
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
