/** Asks all members which copies of stages they keep. Done when a stage is lost. */
import { kept } from '../../protocols/copies.ts'
import type { Roster } from '../../protocols/membership.ts'
import { ask } from '../../protocols/procedure.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { AgreementOptions } from '../membership/agreement.ts'
import { isFresh } from '../membership/roster.ts'
import { rowsOf } from '../recovery/index.ts'
import type { KeptCopy } from '../recovery/strategy.ts'
import type { Run } from '../run/run.ts'

/**
 * The copies of committed steps that members keep in memory or on disk. Leaves out members that do not answer.
 * @param hasDisks true if members have states of stages on their disks, whatever the policy is
 */
export async function inventory(
  { network, runId, signal }: AgreementOptions,
  { recovery }: Run,
  roster: Roster,
  hasDisks: boolean,
): Promise<KeptCopy[]> {
  const { members, committed } = roster
  const upkeep = rowsOf(recovery.policy).some(({ copies, understudies }) => copies || understudies)
  // The policy uses no copies, or no step has been committed that a copy could be of.
  if (!(upkeep || hasDisks) || isFresh(roster)) return []
  const options = { timeoutMs: TIMEOUTS.rosterMs, signal }
  const answers = await Promise.allSettled(
    members.map(async ({ peer }) => {
      const { copies } = await ask(network, peer, kept, { run: runId }, options)
      return copies.map((copy) => ({ ...copy, peer }))
    }),
  )
  const told = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  return told.filter(({ step }) => step <= committed)
}
