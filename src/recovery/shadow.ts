/**
 * Shadow copies. Every few steps a distant member gets a compressed copy of each stage's weights and keeps it in memory.
 * A lost stage is restored to its state of a few steps ago, and every other stage keeps its progress. There is no store
 * and no rollback. The strategy restores any stage, with the ends, and several stages at once.
 */
import { farMembers, latestCopies, restore } from './copies.ts'
import type { Strategy } from './strategy.ts'

/** The row of shadow copies. */
export const shadow: Strategy = {
  name: 'shadow',
  copies: ({ shadow: { everySteps, endsEverySteps, weights, moments } }, bodyStages) => ({
    applies: () => true,
    everySteps: (stage) => (stage === 0 ? endsEverySteps : everySteps),
    form: { weights, moments: moments === 'none' ? null : moments },
    shards: { data: 1, parity: 0 },
    keepers: (roster, stage) => farMembers(roster, stage, bodyStages, 1),
  }),
  donors: (loss) => latestCopies('shadow', loss),
  rebuild: ([source]) => restore(source!),
}
