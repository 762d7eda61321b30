/**
 * Shadow copies. Every few steps one of a stage's keepers, each in turn, gets a compressed copy of the stage's state
 * and keeps it in memory. A lost stage is restored to its state of a few steps ago, and every other stage keeps its progress. There is no store
 * and no rollback. The strategy restores any stage, with the ends, and several stages at once.
 */
import { farMembers, latestCopies, restore } from './copies.ts'
import type { Strategy } from './strategy.ts'

/** The row of shadow copies. */
export const shadow: Strategy = {
  name: 'shadow',
  copies({ shadow: settings }, bodyStages) {
    const { weights, moments } = settings
    const everySteps = (stage: number) => settings[stage === 0 ? 'endsEverySteps' : 'everySteps']
    const count = (stage: number) => settings[stage === 0 ? 'endsKeepers' : 'keepers']
    return {
      applies: () => true,
      everySteps,
      // Keepers get a copy in turn. The next interval allows for the time that a copy takes to arrive.
      maxAge: (stage) => everySteps(stage) * (count(stage) + 1),
      form: { weights, moments: moments === 'none' ? null : moments },
      shards: { data: 1, parity: 0 },
      inTurn: true,
      keepers: (roster, stage) => farMembers(roster, stage, bodyStages, count(stage)),
    }
  },
  donors(loss, settings) {
    return latestCopies(this, loss, settings)
  },
  rebuild: ([source]) => restore(source!),
}
