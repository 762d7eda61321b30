/**
 * An exact copy of each stage's state in shards of a Reed-Solomon code, each kept by another member: any `data` of the
 * `data + parity` give it back, so that it survives losses that take neighbours and keepers together.
 */
import { farMembers, latestCopies, restore } from './copies.ts'
import type { Strategy } from './strategy.ts'

export const snapshot: Strategy = {
  name: 'snapshot',
  refusal: ({ snapshot: { data, parity } }, bodyStages) =>
    data + parity <= bodyStages
      ? null
      : `${data} + ${parity} shards need as many other stages to keep them, and there are ${bodyStages}: lower recovery.snapshot.data or .parity`,
  copies: ({ snapshot: { everySteps, endsEverySteps, data, parity } }, bodyStages) => ({
    applies: () => true,
    everySteps: (stage) => (stage === 0 ? endsEverySteps : everySteps),
    form: { weights: 'float32', moments: 'float32' },
    shards: { data, parity },
    keepers: (roster, stage) => farMembers(roster, stage, bodyStages, data + parity),
  }),
  donors: (loss, { snapshot: { data } }) => latestCopies('snapshot', loss, data),
  rebuild: ([source]) => restore(source!),
}
