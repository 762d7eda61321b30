/** Keeps the addresses that the network knows the same as those of the roster. */
import type { Change } from '../../protocols/agreement.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { Network } from '../../protocols/network.ts'
import { memberById, memberOf, newcomersOf } from './roster.ts'

export class RosterAddresses {
  readonly #network: Network
  /** Roster of which the network knows the addresses. It stays when this peer drops out, since the way back leads there. */
  #known: Roster | null = null

  constructor(network: Network) {
    this.#network = network
  }

  /**
   * Learns the addresses of members that are new or have moved, and forgets those of members that have left.
   * @param before the roster that this peer was in; null if it was in none
   * @param change the change that made the roster; null if the roster was fetched whole
   */
  follow(before: Roster | null, roster: Roster, change: Change | null): void {
    const known = this.#known
    this.#known = roster
    if (known?.members === roster.members) return
    // A change tells what it changed, which saves comparing thousands of members.
    const isNext =
      known !== null &&
      known === before &&
      known.epoch + 1 === roster.epoch &&
      change?.type === 'members'
    const left = isNext
      ? change.leave.flatMap((id) => memberById(known, id) ?? [])
      : (known?.members ?? [])
    for (const { peer } of left) if (!memberOf(roster, peer)) this.#network.forget(peer)
    const learned = isNext ? newcomersOf(known, roster) : movedSince(known, roster)
    for (const { peer, addresses } of learned) this.#network.learn(peer, addresses)
  }
}

/** Members whose addresses are not those of the roster before. */
function movedSince(before: Roster | null, { members }: Roster): readonly Member[] {
  if (before === null) return members
  return members.filter(({ peer, addresses }) => {
    const known = memberOf(before, peer)?.addresses
    return known?.join() !== addresses.join()
  })
}
