/** The peers of a fuzzed swarm that may crash without ending the run. */
import type { Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { CRASHED_SHARE_MAX } from '../faults.ts'
import { votersOf } from './invariants.ts'
import type { FuzzPeer } from './peer.ts'

/** Smallest number of members of a roster at which peers may crash. */
const EXPENDABLE_MEMBERS = 5

/**
 * Peers that may crash while a majority of the voters and a holder of the ends remain.
 * @param living names of the peers that are alive
 * @param peerOf the process of a member, if it is the one that the roster names
 * @param hasStore true if the run has checkpoints, which also bring the ends back
 */
export function expendable(
  roster: Roster | null,
  living: readonly PeerId[],
  peerOf: (member: Roster['members'][number]) => FuzzPeer | undefined,
  hasStore: boolean,
): PeerId[] {
  // In a small roster one more loss is too many, because the next roster may already lack other members.
  if (roster === null || roster.members.length < EXPENDABLE_MEMBERS) return []
  const present = roster.members.filter((member) => peerOf(member)?.runs)
  const ends = present.filter((member) => member.stage === 0 && !peerOf(member)!.flaws.isUnsound)
  if (!hasStore && ends.length === 0) return []
  // One fault may take several peers.
  const lost = Math.max(1, Math.floor(CRASHED_SHARE_MAX * living.length))
  const voters = votersOf(roster)
  const voting = present.filter((member) => voters.includes(member))
  if (2 * (voting.length - lost) <= voters.length) return []
  const needed = new Set(hasStore ? [] : ends.slice(0, 2).map(({ peer }) => peer))
  return living.filter((peer) => !needed.has(peer))
}
