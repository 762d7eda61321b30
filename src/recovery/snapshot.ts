/**
 * Erasure-coded copies. An exact copy of each stage's state is split into shards of a Reed-Solomon code, and each shard
 * is kept by another member. Any `data` of the `data + parity` shards restore it, so that it survives the loss of several
 * keepers.
 */
import { farMembers, latestCopies, restore } from './copies.ts'
import type { Strategy } from './strategy.ts'

/** The row of erasure-coded copies. */
export const snapshot: Strategy = {
  name: 'snapshot',
  refusal: ({ snapshot: { data, parity } }, bodyStages) =>
    data + parity <= bodyStages
      ? null
      : `${data} + ${parity} shards need as many other stages to keep them, but there are ${bodyStages}: lower recovery.snapshot.data or .parity`,
  copies: ({ snapshot: { everySteps, endsEverySteps, data, parity } }, bodyStages) => ({
    applies: () => true,
    everySteps: (stage) => (stage === 0 ? endsEverySteps : everySteps),
    // The next interval allows for the time that the shards take to arrive.
    maxAge: (stage) => 2 * (stage === 0 ? endsEverySteps : everySteps),
    form: { weights: 'float32', moments: 'float32' },
    shards: { data, parity },
    inTurn: false,
    keepers: (roster, stage) => farMembers(roster, stage, bodyStages, data + parity),
  }),
  donors(loss, settings) {
    return latestCopies(this, loss, settings)
  },
  rebuild: ([source]) => restore(source!),
}
