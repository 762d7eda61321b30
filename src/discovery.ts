/** Finding someone of the run: bootstrap addresses, peers of this machine by their data directory, mDNS. */
import type { Clock } from '../protocols/clock.ts'
import type { Network, PeerId } from '../protocols/network.ts'
import { InputError } from './errors.ts'
import { TIMEOUTS } from './limits.ts'

export interface DiscoveryOptions {
  readonly network: Network
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly bootstrap: readonly string[]
  /** Addresses that peers of this machine have left behind. */
  addressBook(): readonly string[]
  /** Becomes the founder of the run on this machine, unless a live process is that already. */
  claimFounder(): boolean
}

/** How often the address book is looked at while another process founds the run. */
const LOOK_MS = 200

/**
 * Someone of the run, or null: then this peer founds it. With bootstrap addresses it never does, since the run is
 * known to be elsewhere.
 * @throws InputError if none of the bootstrap addresses answers
 */
export async function discover(options: DiscoveryOptions): Promise<PeerId | null> {
  const { bootstrap, network, clock, signal } = options
  if (bootstrap.length > 0) {
    const { found, failures } = await connectAny(options, bootstrap)
    if (found !== null) return found
    throw new InputError(
      `No bootstrap address answered: ${failures.join('; ')}. ` +
        'Start the peer there first, or correct --bootstrap.',
    )
  }
  const seen = Promise.withResolvers<PeerId>()
  const removeFound = network.onFound(seen.resolve)
  try {
    const { found } = await connectAny(options, options.addressBook())
    if (found !== null) return found
    const heard = await Promise.race([
      seen.promise,
      clock.sleep(TIMEOUTS.discoveryMs, signal).then(() => null),
    ])
    if (heard !== null) return heard
    // Several peers may start on this machine at once: one founds, the others wait for its address.
    const deadline = clock.now() + TIMEOUTS.founderMs
    while (!options.claimFounder()) {
      const { found } = await connectAny(options, options.addressBook())
      if (found !== null) return found
      if (clock.now() > deadline) {
        throw new InputError(
          `Another process of this data directory founds the run, but has not been reachable for ${TIMEOUTS.founderMs} ms. ` +
            'Stop it, or use another --data-dir.',
        )
      }
      await clock.sleep(LOOK_MS, signal)
    }
    return null
  } finally {
    removeFound()
  }
}

async function connectAny(
  { network, signal }: DiscoveryOptions,
  addresses: readonly string[],
): Promise<{ found: PeerId | null; failures: string[] }> {
  const failures: string[] = []
  for (const address of addresses) {
    try {
      const options = { timeoutMs: TIMEOUTS.connectMs, signal }
      return { found: await network.connect(address, options), failures }
    } catch (error) {
      signal.throwIfAborted()
      failures.push((error as Error).message)
    }
  }
  return { found: null, failures }
}
