/**
 * The peers in no roster that this peer has heard of lately. If several peers begin at once, one of them founds the run:
 * the one with the strongest claim, and of equal claims the one with the smallest peer id. All of them can compute this.
 */
import type { Clock } from '../../protocols/clock.ts'
import { CLAIMS, type Claim } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { TIMEOUTS, UNDECIDED_MAX } from '../base/limits.ts'

interface Heard {
  readonly claim: Claim
  readonly at: number
}

export class UndecidedPeers {
  /** The claim of this peer, which it tells the others. */
  claim: Claim = 'may'
  readonly #self: PeerId
  readonly #clock: Clock
  /** The peer that was heard last comes last. */
  readonly #heard = new Map<PeerId, Heard>()

  constructor(self: PeerId, clock: Clock) {
    this.#self = self
    this.#clock = clock
  }

  /** Notes that a peer has asked, or has answered, and is in no roster. */
  hear(peer: PeerId, claim: Claim): void {
    if (peer === this.#self) return
    this.#heard.delete(peer)
    this.#heard.set(peer, { claim, at: this.#clock.now() })
    if (this.#heard.size > UNDECIDED_MAX) this.#heard.delete(this.#heard.keys().next().value!)
  }

  /** Notes that a peer is in a roster. */
  forget(peer: PeerId): void {
    this.#heard.delete(peer)
  }

  /** All peers that are remembered, whether or not they were heard lately. */
  get remembered(): Iterable<PeerId> {
    return this.#heard.keys()
  }

  /** The peers that were heard in the last `undecidedMs`. */
  get peers(): PeerId[] {
    return [...this.#heard.keys()].filter((peer) => this.heardWithin(peer, TIMEOUTS.undecidedMs))
  }

  /** True if the peer was heard in the last `ms`. */
  heardWithin(peer: PeerId, ms: number): boolean {
    const heard = this.#heard.get(peer)
    return heard !== undefined && this.#clock.now() - heard.at <= ms
  }

  /**
   * The peer that has to act before this one founds the run; null if there is none. A peer that was in the run before
   * comes first, because the run exists: only a peer that insists founds it in spite of that.
   */
  get leader(): { readonly peer: PeerId; readonly claim: Claim } | null {
    const peers = this.peers.map((peer) => ({ peer, claim: this.#heard.get(peer)!.claim }))
    const former = peers.find(({ claim }) => claim === 'never')
    if (former !== undefined && this.claim !== 'insists') return former
    const own = { peer: this.#self, claim: this.claim }
    const [first] = [own, ...peers].sort(compare)
    return first === own ? null : first!
  }
}

interface Claimant {
  readonly peer: PeerId
  readonly claim: Claim
}

/** Orders peers by their claims, and equal claims by peer id. */
function compare(a: Claimant, b: Claimant): number {
  const byClaim = CLAIMS.indexOf(a.claim) - CLAIMS.indexOf(b.claim)
  if (byClaim !== 0) return byClaim
  return a.peer < b.peer ? -1 : 1
}
