/** The rosters that peers of a fuzzed swarm have reported. */

import type { Member, Roster } from '../../protocols/membership.ts'
import * as membership from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'

export class Rosters {
  /** Rosters by their bytes. Equal bytes from several peers give the same object. */
  readonly #known = new Map<string, Roster>()
  /** The newest roster of each incarnation. */
  readonly #newest = new Map<string, Roster>()

  decode(peer: PeerId, body: Uint8Array): Roster {
    const bytes = Buffer.from(body).toString('latin1')
    const roster = this.#known.get(bytes) ?? membership.decodeRoster(peer, body)
    this.#known.set(bytes, roster)
    return roster
  }

  note(incarnation: string, roster: Roster): void {
    if (roster.epoch <= (this.#newest.get(incarnation)?.epoch ?? -1)) return
    this.#newest.set(incarnation, roster)
  }

  /** The newest roster of the incarnation with the most members for which this is true; of equal ones the latest. */
  newest(isPresent: (member: Member) => boolean): Roster | null {
    let newest: Roster | null = null
    let most = -1
    for (const roster of this.#newest.values()) {
      const count = roster.members.filter(isPresent).length
      if (count < most) continue
      most = count
      newest = roster
    }
    return newest
  }
}
