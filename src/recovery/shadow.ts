/**
 * A recent copy of each stage's own weights, compressed, in the memory of a member far from it in the pipeline, made anew
 * every few steps. A lost stage comes back as it was a few steps ago; the others keep what they have learnt since. No
 * store, no rollback. It brings back any stage, the ends too, and several at once.
 */
import { farMembers, latestCopies, restore } from './copies.ts'
import type { Strategy } from './strategy.ts'

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
