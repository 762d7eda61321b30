/**
 * Shares the rosters of a swarm of hundreds or thousands of peers in one process. A roster never changes, so all members
 * can refer to the same object. One member makes a roster and its index, and the other members find both. Without sharing,
 * a change of members costs the square of their number.
 */
import type { Roster } from '../protocols/membership.ts'
import { ROSTERS, type RosterSource } from '../src/membership/roster.ts'

/**
 * A source for all members of one swarm. A ballot has one change for each epoch, so that the ballot names the roster
 * that follows another. A swarm that looks for violations of that rule needs a source for each member instead.
 */
export function sharedRosters(): RosterSource {
  const next = new WeakMap<Roster, Roster>()
  let received: { readonly body: Uint8Array; readonly roster: Roster } | null = null
  let latest: Roster | null = null
  return {
    apply(roster, change) {
      const known = next.get(roster)
      const { round, id } = change.ballot
      if (known?.ballot.round === round && known.ballot.id === id) return known
      latest = ROSTERS.apply(roster, change)
      next.set(roster, latest)
      return latest
    },

    decode(from, body) {
      if (body && received && Buffer.compare(received.body, body) === 0) return received.roster
      const decoded = ROSTERS.decode(from, body)
      const roster = latest !== null && isSame(latest, decoded) ? latest : decoded
      received = { body: body!, roster }
      return roster
    },
  }
}

function isSame(one: Roster, other: Roster): boolean {
  const [a, b] = [one.ballot, other.ballot]
  return one.epoch === other.epoch && a.round === b.round && a.id === b.id
}
