/** Who keeps another stage's state beside the own, for the strategy `redundant`: all members know it from the roster. */
import type { Member, Roster } from '../../protocols/membership.ts'
import { holdersOf } from '../membership/roster.ts'
import { rowsOf } from '../recovery/index.ts'
import type { Run } from '../run/run.ts'

function isWanted({ recovery }: Run): boolean {
  return rowsOf(recovery.policy).some(({ understudies }) => understudies)
}

/** The stage whose state a holder is to keep beside the one of its own: the next one, the ends after the last. */
export function secondStage(run: Run, stage: number): number | null {
  return isWanted(run) ? (stage + 1) % (run.stages + 1) : null
}

/** Who is to have the state of a stage beside its own: the first holder of the stage before, if there is one. */
export function understudiesOf(run: Run, roster: Roster, stage: number): readonly Member[] {
  if (!isWanted(run)) return []
  return holdersOf(roster, (stage + run.stages) % (run.stages + 1)).slice(0, 1)
}
