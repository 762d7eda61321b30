/**
 * The state of a stage on the disk of a member that held the stage before (`src/checkpoint/disk-upkeep.ts`). It brings a
 * swarm back of which every process was killed. No policy names the row: it is used where a disk has a state.
 */
import { KEPT } from '../../protocols/copies.ts'
import { restore } from './copies.ts'
import type { Strategy } from './strategy.ts'

/** A body stage is restored from a state that is older than the last committed step by so many intervals at most. */
const INTERVALS_MAX = 2

/** The row of states on disks. */
export const kept: Strategy = {
  name: KEPT,
  // The form of the state on disk. Holders write to their own disks only, so no member gets a copy.
  copies: () => ({
    applies: () => false,
    everySteps: () => 1,
    form: { weights: 'float32', moments: 'float32' },
    shards: { data: 1, parity: 0 },
    keepers: () => [],
  }),
  donors: ({ stage, copies, committed }, { kept: { everySteps } }) => {
    const own = copies.filter((copy) => copy.strategy === KEPT && copy.stage === stage)
    if (own.length === 0) return { reason: `stage ${stage} is on the disk of no member` }
    const step = Math.max(...own.map((copy) => copy.step))
    // Nothing else may bring the ends back, so that an old state of them is better than none.
    if (stage > 0 && committed - step > INTERVALS_MAX * everySteps) {
      return {
        reason: `the newest state of stage ${stage} on a disk is of step ${step}, more than ${INTERVALS_MAX * everySteps} steps ago`,
      }
    }
    return [{ stage, copies: own.filter((copy) => copy.step === step) }]
  },
  rebuild: ([source]) => restore(source!),
}
