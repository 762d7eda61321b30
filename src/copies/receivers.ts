/** Decides which keepers of a stage get a copy now. The node and the model of `sim/lab/scale` both use it. */
import type { Member } from '../../protocols/membership.ts'
import { COPY_ATTEMPTS } from '../base/limits.ts'
import type { CopyRule } from '../recovery/strategy.ts'

/** What a keeper got. */
export interface Given {
  /** Step of the last copy that was sent to the keeper, whether or not it arrived. */
  readonly step: number
  /** Number of copies in succession that the keeper did not take. */
  readonly failures: number
}

/** The state of a stage that could be copied. */
interface Copied {
  readonly stage: number
  readonly step: number
  /** True if the step was just committed. False if only the members changed. */
  readonly isNew: boolean
}

/**
 * Keepers that get a copy of this step. A keeper without a copy gets one at once: it may have taken the place of a lost
 * keeper. A copy that is due goes to all keepers, or to the one whose copy is the oldest, as the rule says.
 * @param given what each keeper got, by member id
 */
export function receiversOf(
  { everySteps, inTurn, shards }: CopyRule,
  { stage, step, isNew }: Copied,
  keepers: readonly Member[],
  given: ReadonlyMap<number, Given>,
): readonly Member[] {
  const missing = keepers.filter(({ id }) => isMissing(given.get(id), step))
  const isDue = isNew && (step + stage) % everySteps(stage) === 0
  // Shards of two steps do not make a copy.
  const isSplit = shards.data + shards.parity > 1
  if (isSplit || !inTurn) return isDue || (isSplit && missing.length > 0) ? keepers : missing
  if (!isDue) return missing
  const ages = keepers.filter((keeper) => !missing.includes(keeper))
  const oldest = ages.reduce<Member | null>(
    (a, b) => (a !== null && given.get(a.id)!.step <= given.get(b.id)!.step ? a : b),
    null,
  )
  return oldest === null ? missing : [...missing, oldest]
}

/** A keeper that fails again and again waits for its turn, so that it does not hold up the others. */
function isMissing(given: Given | undefined, step: number): boolean {
  if (given === undefined) return true
  return given.failures > 0 && given.failures < COPY_ATTEMPTS && given.step < step
}

/** What each keeper got, after a copy of this step was sent to `receivers`, of which `took` have taken it. */
export function givenAfter(
  before: ReadonlyMap<number, Given>,
  step: number,
  keepers: readonly Member[],
  receivers: readonly Member[],
  took: readonly Member[],
): Map<number, Given> {
  const after = new Map<number, Given>()
  for (const keeper of keepers) {
    const known = before.get(keeper.id)
    const failures = took.includes(keeper) ? 0 : (known?.failures ?? 0) + 1
    if (receivers.includes(keeper)) after.set(keeper.id, { step, failures })
    else if (known !== undefined) after.set(keeper.id, known)
  }
  return after
}
