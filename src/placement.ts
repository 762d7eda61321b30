/** Which spare takes which empty stage, and how the stage is to come back: decisions, without any of the asking. */
import { ProtocolError } from '../protocols/errors.ts'
import type { Roster } from '../protocols/membership.ts'
import type { PeerId } from '../protocols/network.ts'
import type { Skipped } from './journal.ts'
import { choose } from './recovery/index.ts'
import { holderOf, sparesOf } from './roster.ts'
import type { Run } from './run.ts'

/** A spare, and the stage that it is to take. */
export interface Match {
  readonly stage: number
  readonly peer: PeerId
}

/**
 * Lost stages come first, since others wait for their weights.
 * @param wishes the stage that a peer insists on, or null
 */
export function matchSpares(
  roster: Roster,
  empty: readonly number[],
  lost: (stage: number) => boolean,
  wishes: ReadonlyMap<PeerId, number | null>,
): Match[] {
  const byNeed = [...empty].sort((a, b) => Number(lost(b)) - Number(lost(a)) || a - b)
  const spares = sparesOf(roster)
  const matches: Match[] = []
  for (const stage of byNeed) {
    const chosen =
      spares.find(({ peer }) => wishes.get(peer) === stage) ??
      spares.find(({ peer }) => (wishes.get(peer) ?? null) === null)
    if (chosen === undefined) continue
    spares.splice(spares.indexOf(chosen), 1)
    matches.push({ stage, peer: chosen.peer })
  }
  return matches
}

export interface Plan {
  readonly strategy: string
  readonly donors: { stage: number; peer: PeerId }[]
  readonly skipped: readonly Skipped[]
}

/**
 * How an empty stage gets its weights.
 * @param lost it had a holder once
 * @throws ProtocolError REFUSED if no strategy of the run's policy can work
 */
export function planFor(run: Run, roster: Roster, stage: number, lost: boolean): Plan {
  const live = new Set(roster.members.flatMap((member) => member.stage ?? []))
  // Before the first step a lost stage has learnt nothing: the seed makes it again as it was.
  const policy = lost && roster.committed > 0 ? run.recovery.policy : ['seed']
  const { chosen, skipped } = choose(policy, { stage, bodyStages: run.stages, live })
  if (chosen === null) {
    const reasons = skipped.map(({ strategy, reason }) => `${strategy}: ${reason}`)
    throw new ProtocolError(
      'REFUSED',
      `stage ${stage} is lost and no strategy of the policy can rebuild it (${reasons.join('; ')})`,
    )
  }
  const donors = chosen.donors.map((donor) => ({
    stage: donor,
    peer: holderOf(roster, donor)!.peer,
  }))
  return { strategy: chosen.strategy.name, donors, skipped }
}
