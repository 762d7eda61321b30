/** Finding someone of the run: bootstrap addresses, peers of this machine by their data directory, mDNS. */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { InputError } from '../base/errors.ts'
import { TIMEOUTS } from '../base/limits.ts'

/** Asks a peer to be let in. Gives the coordinator, or null if the peer is not in the run itself yet. */
export type Enter = (peer: PeerId) => Promise<PeerId | null>

export interface DiscoveryOptions {
  readonly network: Network
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly bootstrap: readonly string[]
  /** Addresses of the peers of this machine that are in the run. */
  addressBook(): readonly string[]
  /** The run has ended meanwhile: there is nobody to be found. */
  isOver(): boolean
  /**
   * Becomes the founder of the run on this machine, unless a live process is that already. True, too, for one that never
   * founds: it has looked in vain for now.
   */
  claimFounder(): boolean
}

/** The run that somebody of it was looked for has ended. */
export class RunIsOver extends Error {
  override readonly name = 'RunIsOver'
}

/** How often the address book and the peers seen on the local network are gone through. */
const LOOK_MS = 200

/**
 * The coordinator that let this peer in, or null: then it founds the run. With bootstrap addresses it never does, since
 * the run is known to be elsewhere.
 * @throws InputError if nobody answers where the user said that someone is
 * @throws RunIsOver
 */
export function discover(options: DiscoveryOptions, enter: Enter): Promise<PeerId | null> {
  return options.bootstrap.length > 0 ? byBootstrap(options, enter) : bySight(options, enter)
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
      failures.push(`${address} is not in the run itself yet`)
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

/** Looks around for a while, then founds; of several that start at once on this machine one does, the others find it. */
async function bySight(options: DiscoveryOptions, enter: Enter): Promise<PeerId | null> {
  const { network, clock, signal } = options
  const seen = new Set<PeerId>()
  const removeFound = network.onFound((peer) => seen.add(peer))
  const begun = clock.now()
  try {
    for (;;) {
      if (options.isOver()) throw new RunIsOver('the run is over')
      const known = options.addressBook()
      for (const address of known) {
        const coordinator = await tried(signal, async () =>
          enter(await network.connect(address, { timeoutMs: TIMEOUTS.connectMs, signal })),
        )
        if (coordinator !== null) return coordinator
      }
      for (const peer of seen) {
        const coordinator = await tried(signal, () => enter(peer))
        if (coordinator !== null) return coordinator
      }
      const waited = clock.now() - begun
      // While peers of the run live on this machine, a second founding would split it.
      if (waited >= TIMEOUTS.discoveryMs && known.length === 0 && options.claimFounder())
        return null
      if (waited > TIMEOUTS.founderMs) {
        throw new InputError(
          `Other processes of this data directory are in the run, but none has let this peer in for ${TIMEOUTS.founderMs} ms. ` +
            'Stop them, or use another --data-dir.',
        )
      }
      await clock.sleep(LOOK_MS, signal)
    }
  } finally {
    removeFound()
  }
}

/** Who was only seen may be gone again, busy, or of another run: then null. */
async function tried(
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

/** The run is there and does not want this peer. */
function isRefusal(error: unknown): boolean {
  return error instanceof ProtocolError && ['WRONG_RUN', 'REFUSED'].includes(error.code)
}
