/** Which members keep another stage's state beside their own (strategy `redundant`). The roster decides it. */
import type { Member, Roster } from '../../protocols/membership.ts'
import { holdersOf } from '../membership/roster.ts'
import { rowsOf } from '../recovery/index.ts'
import type { Run } from '../run/run.ts'

function isWanted({ recovery }: Run): boolean {
  return rowsOf(recovery.policy).some(({ understudies }) => understudies)
}

/** The stage whose state a holder keeps beside its own: the next one, or the ends after the last; null without `redundant`. */
export function secondStage(run: Run, stage: number): number | null {
  return isWanted(run) ? (stage + 1) % (run.stages + 1) : null
}

/** The members that keep the state of a stage: the first holder of the stage before. Empty without such a holder. */
export function understudiesOf(run: Run, roster: Roster, stage: number): readonly Member[] {
  if (!isWanted(run)) return []
  return holdersOf(roster, (stage + run.stages) % (run.stages + 1)).slice(0, 1)
}
