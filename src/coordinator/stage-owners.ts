/** Gives a stage to the member that has it on its own disk, so that the state need not be sent. */
import { KEPT } from '../../protocols/copies.ts'
import type { Member } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { KeptCopy } from '../recovery/strategy.ts'
import type { Match } from './placement.ts'

export interface Candidates {
  /** Members without faults of their own that could take a stage now, matched or not. */
  readonly spares: readonly Member[]
  /** The stage that a peer insists on, or null. */
  readonly wishes: ReadonlyMap<PeerId, number | null>
}

/**
 * Changes matches so that a stage goes to a member with its latest state on disk. That member's own match goes to the
 * member that it replaces. A peer that insists on a stage is left as it is.
 */
export function toOwners(
  matches: readonly Match[],
  copies: readonly KeptCopy[],
  { spares, wishes }: Candidates,
): Match[] {
  const isFree = ({ peer }: Member) => (wishes.get(peer) ?? null) === null
  const result = [...matches]
  const settled = new Set<PeerId>()
  for (const { stage } of matches) {
    const owners = latestOwners(stage, copies)
    const at = result.findIndex((match) => match.stage === stage)
    const present = result[at]!.member
    if (owners.has(present.peer) || !isFree(present)) {
      settled.add(present.peer)
      continue
    }
    const owner = spares.find(
      (spare) => owners.has(spare.peer) && isFree(spare) && !settled.has(spare.peer),
    )
    if (owner === undefined) continue
    const other = result.findIndex(({ member }) => member.id === owner.id)
    if (other >= 0) result[other] = { stage: result[other]!.stage, member: present }
    result[at] = { stage, member: owner }
    settled.add(owner.peer)
  }
  return result
}

/** Peers with the latest state of a stage that is on a disk. */
function latestOwners(stage: number, copies: readonly KeptCopy[]): ReadonlySet<PeerId> {
  const own = copies.filter((copy) => copy.strategy === KEPT && copy.stage === stage)
  const step = Math.max(...own.map((copy) => copy.step))
  return new Set(own.filter((copy) => copy.step === step).map(({ peer }) => peer))
}
