/** The table of recovery strategies. A run's policy is the order in which its strategies are tried. */
import type { Skipped } from '../base/journal.ts'
import { checkfree } from './checkfree.ts'
import { checkfreePlus } from './checkfree-plus.ts'
import { checkpoint } from './checkpoint.ts'
import { copy } from './copy.ts'
import { kept } from './kept.ts'
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

/** Strategies that a policy can name. */
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

/** Names that a policy can contain. */
export const RECOVERY_NAMES: readonly string[] = RECOVERIES.map(({ name }) => name)

/** The default policy. Its order follows the measurements in docs/STRATEGIES.md. */
export const AUTO_POLICY: readonly string[] = ['shadow', 'checkfree', 'copy', 'random']

/** The policy that tries the named strategy first and then those of the default policy. */
export function policyOf(name: string): readonly string[] {
  return name === 'auto' ? AUTO_POLICY : [...new Set([name, ...AUTO_POLICY])]
}

/** All strategies by name, with those that are not recoveries. */
export const STRATEGIES: ReadonlyMap<string, Strategy> = new Map(
  [seed, resume, replica, kept, ...RECOVERIES].map((strategy) => [strategy.name, strategy]),
)

/** The strategies of a policy, in its order. */
export function rowsOf(policy: readonly string[]): Strategy[] {
  return policy.map((name) => STRATEGIES.get(name)!)
}

/**
 * The policy with the row of states on disks, which no manifest names. A state of the last committed step comes first: it
 * is exact. An earlier one comes before the first strategy that averages or draws weights. Without any state on a disk the
 * policy is unchanged.
 */
export function withDisks(
  policy: readonly string[],
  { stage, copies, committed }: Pick<Loss, 'stage' | 'copies' | 'committed'>,
): readonly string[] {
  const onDisk = copies.filter(({ strategy }) => strategy === kept.name)
  if (onDisk.length === 0) return policy
  if (onDisk.some((each) => each.stage === stage && each.step === committed)) {
    return [kept.name, ...policy]
  }
  const first = rowsOf(policy).findIndex((row) => !isOfOwnState(row))
  return policy.toSpliced(first < 0 ? policy.length : first, 0, kept.name)
}

/** True if the strategy gives a stage a state that the stage itself had. */
export function isOfOwnState({ name, copies, understudies = false }: Strategy): boolean {
  return copies !== undefined || understudies || name === checkpoint.name
}

/** The result of choosing a strategy for a lost stage. */
export interface Choice {
  /** Null if no strategy of the policy can be used. */
  readonly chosen: { readonly strategy: Strategy; readonly donors: readonly Origin[] } | null
  /** Strategies that could not be used with recent copies, each with the reason. */
  readonly skipped: readonly Skipped[]
}

/**
 * Chooses the first strategy of the policy that can be used. Copies that are older than their strategy allows are used
 * only if no strategy works otherwise.
 */
export function choose(
  policy: readonly string[],
  loss: Omit<Loss, 'isLastResort'>,
  settings: RecoverySettings,
): Choice {
  const recent = chooseFrom(policy, { ...loss, isLastResort: false }, settings)
  if (recent.chosen !== null) return recent
  const { chosen } = chooseFrom(policy, { ...loss, isLastResort: true }, settings)
  return { chosen, skipped: recent.skipped }
}

function chooseFrom(policy: readonly string[], loss: Loss, settings: RecoverySettings): Choice {
  const skipped: Skipped[] = []
  for (const strategy of rowsOf(policy)) {
    const donors = strategy.donors(loss, settings)
    if (!('reason' in donors)) return { chosen: { strategy, donors }, skipped }
    skipped.push({ strategy: strategy.name, reason: donors.reason })
  }
  return { chosen: null, skipped }
}
