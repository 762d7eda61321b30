/**
 * The peers that held a stage beside this one, and are not in the roster any more. They may have gone on in another
 * incarnation, and are the ones whose word about it is taken. Any peer becomes a member that asks, so that to have been one
 * shows little.
 */
import { ABSENT_MAX, type Contact } from '../../protocols/incarnation.ts'
import type { Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { contactOf } from './incarnation.ts'
import { isHolder, memberOf } from './roster.ts'

export class Parted {
  /** The peer that left last comes last. */
  readonly #contacts = new Map<PeerId, Contact>()

  /** This peer follows a new roster. @param before the one that it followed until now; null for its first */
  follow(before: Roster | null, roster: Roster): void {
    // Most epochs leave the list as it is.
    if (before === null || before.members === roster.members) return
    for (const member of before.members) {
      if (!isHolder(member) || memberOf(roster, member.peer) !== undefined) continue
      this.#contacts.delete(member.peer)
      this.#contacts.set(member.peer, contactOf(member))
      if (this.#contacts.size > ABSENT_MAX) {
        this.#contacts.delete(this.#contacts.keys().next().value!)
      }
    }
  }

  get contacts(): readonly Contact[] {
    return [...this.#contacts.values()]
  }

  has(peer: PeerId): boolean {
    return this.#contacts.has(peer)
  }
}
