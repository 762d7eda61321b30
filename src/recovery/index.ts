/** The table of strategies, and the policy: the order in which they are tried is data of the run. */
import type { Skipped } from '../base/journal.ts'
import { checkfree } from './checkfree.ts'
import { checkfreePlus } from './checkfree-plus.ts'
import { checkpoint } from './checkpoint.ts'
import { copy } from './copy.ts'
import { random } from './random.ts'
import { redundant } from './redundant.ts'
import { replica } from './replica.ts'
import { resume } from './resume.ts'
import { seed } from './seed.ts'
import type { RecoverySettings } from './settings.ts'
import { shadow } from './shadow.ts'
import { snapshot } from './snapshot.ts'
import type { Loss, Origin, Strategy } from './strategy.ts'
import { uniform } from './uniform.ts'

/** What a policy can name. */
const RECOVERIES = [
  redundant,
  shadow,
  snapshot,
  checkfreePlus,
  checkfree,
  uniform,
  copy,
  random,
  checkpoint,
]

export const RECOVERY_NAMES: readonly string[] = RECOVERIES.map(({ name }) => name)

/** What a run tries unless it says otherwise: the best that we have measured first (docs/STRATEGIES.md). */
export const AUTO_POLICY: readonly string[] = ['shadow', 'checkfree', 'copy', 'random']

/** The policy that begins with a strategy, and goes on with what can work where that cannot. */
export function policyOf(name: string): readonly string[] {
  return name === 'auto' ? AUTO_POLICY : [...new Set([name, ...AUTO_POLICY])]
}

export const STRATEGIES: ReadonlyMap<string, Strategy> = new Map(
  [seed, resume, replica, ...RECOVERIES].map((strategy) => [strategy.name, strategy]),
)

/** The rows of a policy. */
export function rowsOf(policy: readonly string[]): Strategy[] {
  return policy.map((name) => STRATEGIES.get(name)!)
}

export interface Choice {
  /** Null when no row of the policy can work. */
  readonly chosen: { readonly strategy: Strategy; readonly donors: readonly Origin[] } | null
  /** Why the rows before the chosen one cannot. */
  readonly skipped: readonly Skipped[]
}

/** The first row of the policy that can work. */
export function choose(policy: readonly string[], loss: Loss, settings: RecoverySettings): Choice {
  const skipped: Skipped[] = []
  for (const strategy of rowsOf(policy)) {
    const donors = strategy.donors(loss, settings)
    if (!('reason' in donors)) return { chosen: { strategy, donors }, skipped }
    skipped.push({ strategy: strategy.name, reason: donors.reason })
  }
  return { chosen: null, skipped }
}
