/** Asks all members which copies of stages they keep, and which stage they rebuild. Done when a stage is lost. */
import { kept } from '../../protocols/copies.ts'
import type { Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { AgreementOptions } from '../membership/agreement.ts'
import { isFresh } from '../membership/roster.ts'
import type { KeptCopy } from '../recovery/strategy.ts'

/** What members have said. Members that did not answer are left out. */
export interface Inventory {
  /** The copies of committed steps that members keep in memory or on disk. */
  readonly copies: readonly KeptCopy[]
  /** Stages that members rebuild, and that no roster has given to them yet. */
  readonly rebuilding: ReadonlyMap<PeerId, number>
}

/** Before the first step there is nothing to ask for. */
export async function inventory(
  { network, runId, signal }: AgreementOptions,
  roster: Roster,
): Promise<Inventory> {
  const { members, committed } = roster
  if (isFresh(roster)) return { copies: [], rebuilding: new Map() }
  const options = { timeoutMs: TIMEOUTS.rosterMs, signal }
  const answers = await Promise.allSettled(
    members.map(async ({ peer }) => {
      return { peer, ...(await ask(network, peer, kept, { run: runId }, options)) }
    }),
  )
  const told = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  const copies = told.flatMap(({ peer, copies }) => copies.map((copy) => ({ ...copy, peer })))
  return {
    copies: copies.filter(({ step }) => step <= committed),
    rebuilding: new Map(
      told.flatMap(({ peer, rebuilding }) => (rebuilding === null ? [] : [[peer, rebuilding]])),
    ),
  }
}
