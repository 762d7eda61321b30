/**
 * The peers that this peer sees, whether or not its roster names them: those that the network finds by itself (mDNS), and
 * those at the addresses where a peer of the run may be (`--bootstrap`, other processes of this machine).
 */
import type { Network, PeerId } from '../../protocols/network.ts'
import { TIMEOUTS, UNDECIDED_MAX } from '../base/limits.ts'

export class Sightings {
  readonly #network: Network
  readonly #places: () => readonly string[]
  readonly #found = new Set<PeerId>()
  /** The peer that answered at an address. */
  readonly #at = new Map<string, PeerId>()
  readonly #removeFound: () => void

  /** @param places addresses at which a peer of the run may be */
  constructor(network: Network, places: () => readonly string[]) {
    this.#network = network
    this.#places = places
    this.#removeFound = network.onFound((peer) => {
      if (this.#found.size < UNDECIDED_MAX) this.#found.add(peer)
    })
  }

  /** Dials the addresses whose peers are not known, and gives all peers that are seen. */
  async look(signal: AbortSignal): Promise<readonly PeerId[]> {
    const options = { timeoutMs: TIMEOUTS.connectMs, signal }
    await Promise.all(
      this.#places().map(async (place) => {
        if (this.#at.has(place)) return
        const peer = await this.#network.connect(place, options).catch(() => null)
        if (peer !== null) this.#at.set(place, peer)
      }),
    )
    signal.throwIfAborted()
    return [...new Set([...this.#found, ...this.#at.values()])]
  }

  /** The peer does not answer: another peer may be at its address now. */
  silent(peer: PeerId): void {
    for (const [place, at] of this.#at) if (at === peer) this.#at.delete(place)
  }

  end(): void {
    this.#removeFound()
  }
}
