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
    const moves = (isNext && change.move) || []
    const moved = moves.flatMap(({ id }) => memberById(roster, id) ?? [])
    const candidates = isNext ? [...newcomersOf(known, roster), ...moved] : roster.members
    for (const member of candidates) this.#learn(known, member)
  }

  #learn(known: Roster | null, { peer, addresses }: Member): void {
    const before = known === null ? undefined : memberOf(known, peer)?.addresses
    if (before !== undefined && before.join() === addresses.join()) return
    this.#network.learn(peer, addresses)
    // The connection led to an address that is gone. Nothing would tell this peer that it is dead.
    if (before !== undefined && hasLeft(before, addresses)) this.#network.disconnect(peer)
  }
}

/** True if an address of those before is gone, and not only another one new. */
export function hasLeft(before: readonly string[], now: readonly string[]): boolean {
  return before.some((address) => !now.includes(address))
}
