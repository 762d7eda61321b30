/** The table of strategies, and the policy: the order in which they are tried is data of the run. */
import type { Skipped } from '../journal.ts'
import { checkfree } from './checkfree.ts'
import { copy } from './copy.ts'
import { random } from './random.ts'
import { replica } from './replica.ts'
import { resume } from './resume.ts'
import { seed } from './seed.ts'
import type { Loss, Strategy } from './strategy.ts'

/** What a policy can name, in the order in which it is tried unless a run says otherwise. */
const RECOVERIES = [checkfree, copy, random]

export const RECOVERY_NAMES: readonly string[] = RECOVERIES.map(({ name }) => name)

export const STRATEGIES: ReadonlyMap<string, Strategy> = new Map(
  [seed, resume, replica, ...RECOVERIES].map((strategy) => [strategy.name, strategy]),
)

export interface Choice {
  /** Null when no row of the policy can work. */
  readonly chosen: { readonly strategy: Strategy; readonly donors: readonly number[] } | null
  /** Why the rows before the chosen one cannot. */
  readonly skipped: readonly Skipped[]
}

/** The first row of the policy that can work. */
export function choose(policy: readonly string[], loss: Loss): Choice {
  const skipped: Skipped[] = []
  for (const name of policy) {
    const strategy = STRATEGIES.get(name)!
    const donors = strategy.donors(loss)
    if (!('reason' in donors)) return { chosen: { strategy, donors }, skipped }
    skipped.push({ strategy: name, reason: donors.reason })
  }
  return { chosen: null, skipped }
}
