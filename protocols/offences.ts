/** Counts what peers do wrong, to tell one mistake from many. */
import type { Clock } from './clock.ts'
import type { PeerId } from './network.ts'

/** Peers that are counted at a time. */
const PEERS_MAX = 4096

interface Count {
  readonly since: number
  readonly offences: number
}

export class Offences {
  readonly #clock: Clock
  readonly #most: number
  readonly #windowMs: number
  readonly #counts = new Map<PeerId, Count>()

  /** @param most offences of one peer within `windowMs` that are borne */
  constructor(clock: Clock, most: number, windowMs: number) {
    this.#clock = clock
    this.#most = most
    this.#windowMs = windowMs
  }

  /** Counts one more. True if the peer has done more wrong in this window than is borne. Its count then begins anew. */
  note(peer: PeerId): boolean {
    const now = this.#clock.now()
    const known = this.#counts.get(peer)
    const isCurrent = known !== undefined && now - known.since < this.#windowMs
    const offences = (isCurrent ? known.offences : 0) + 1
    this.#counts.delete(peer)
    if (offences > this.#most) return true
    this.#counts.set(peer, { since: isCurrent ? known.since : now, offences })
    if (this.#counts.size > PEERS_MAX) this.#counts.delete(this.#counts.keys().next().value!)
    return false
  }
}
