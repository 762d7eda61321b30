/** Finds a peer of the run: by bootstrap addresses, by the data directory of this machine, or by mDNS. */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { InputError } from '../base/errors.ts'
import { TIMEOUTS } from '../base/limits.ts'

/** Asks a peer for admission. Gives the coordinator, or null if the peer itself is not in the run yet. */
export type Enter = (peer: PeerId) => Promise<PeerId | null>

/** Options of the search for peers of the run. */
export interface DiscoveryOptions {
  readonly network: Network
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly bootstrap: readonly string[]
  /** Addresses of the peers of this machine that are in the run. */
  addressBook(): readonly string[]
  /** True if the run has ended meanwhile, so that no peer of it can be found. */
  isOver(): boolean
  /**
   * Claims to be the founder of the run on this machine. False if a live process has made the claim. A peer that may not
   * found the run gives true, which ends this search.
   */
  claimFounder(): boolean
}

/** Thrown when the run ends while a peer searches for its members. */
export class RunIsOver extends Error {
  override readonly name = 'RunIsOver'
}

/** Interval at which known addresses and peers seen on the local network are tried, in milliseconds. */
const SEARCH_INTERVAL_MS = 200

/**
 * Finds a peer of the run and asks it for admission. Gives the coordinator; null if there is no peer, so that this one
 * founds the run. A peer with bootstrap addresses never founds the run, since the run exists elsewhere.
 * @throws InputError if no bootstrap address admits this peer
 * @throws RunIsOver if the run ends meanwhile
 * @throws ProtocolError WRONG_RUN or REFUSED if the run refuses this peer
 */
export function discover(options: DiscoveryOptions, enter: Enter): Promise<PeerId | null> {
  return options.bootstrap.length > 0 ? byBootstrap(options, enter) : bySearch(options, enter)
}

async function byBootstrap(
  { bootstrap, network, signal }: DiscoveryOptions,
  enter: Enter,
): Promise<PeerId> {
  const failures: string[] = []
  for (const address of bootstrap) {
    try {
      const peer = await network.connect(address, { timeoutMs: TIMEOUTS.connectMs, signal })
      const coordinator = await enter(peer)
      if (coordinator !== null) return coordinator
      failures.push(`the peer at ${address} is not in the run yet`)
    } catch (error) {
      signal.throwIfAborted()
      if (isRefusal(error)) throw error
      failures.push((error as Error).message)
    }
  }
  throw new InputError(
    `No bootstrap address let this peer in: ${failures.join('; ')}. ` +
      'Start the peer there first, or correct --bootstrap.',
  )
}

/**
 * Searches for `discoveryMs`, then founds the run. If several processes start at once on this machine, one of them founds
 * the run and the others find it.
 */
async function bySearch(options: DiscoveryOptions, enter: Enter): Promise<PeerId | null> {
  const { network, clock, signal } = options
  const seen = new Set<PeerId>()
  const removeFound = network.onFound((peer) => seen.add(peer))
  const startMs = clock.now()
  try {
    for (;;) {
      if (options.isOver()) throw new RunIsOver('the run is over')
      const known = options.addressBook()
      for (const address of known) {
        const coordinator = await nullOnFailure(signal, async () =>
          enter(await network.connect(address, { timeoutMs: TIMEOUTS.connectMs, signal })),
        )
        if (coordinator !== null) return coordinator
      }
      for (const peer of seen) {
        const coordinator = await nullOnFailure(signal, () => enter(peer))
        if (coordinator !== null) return coordinator
      }
      const waited = clock.now() - startMs
      // While this machine has live peers of the run, founding it again would split it.
      if (waited >= TIMEOUTS.discoveryMs && known.length === 0 && options.claimFounder())
        return null
      if (waited > TIMEOUTS.founderMs) {
        throw new InputError(
          `Other processes with this data directory are in the run, but none has let this peer in for ${TIMEOUTS.founderMs} ms. ` +
            'Stop them, or use another --data-dir.',
        )
      }
      await clock.sleep(SEARCH_INTERVAL_MS, signal)
    }
  } finally {
    removeFound()
  }
}

/** Gives null on a network failure. A peer that was only seen may be gone, busy, or in another run. */
async function nullOnFailure(
  signal: AbortSignal,
  work: () => Promise<PeerId | null>,
): Promise<PeerId | null> {
  try {
    return await work()
  } catch (error) {
    signal.throwIfAborted()
    if (!(error instanceof ProtocolError) || error.code === 'REFUSED') throw error
    return null
  }
}

/** Tells whether the peer at an address refused this one. */
function isRefusal(error: unknown): boolean {
  return error instanceof ProtocolError && ['WRONG_RUN', 'REFUSED'].includes(error.code)
}
