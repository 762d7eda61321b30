/**
 * The state of a stage on the disk of a member that held the stage before (`src/checkpoint/disk-upkeep.ts`). It brings a
 * swarm back of which every process was killed. No policy names the row: it is used where a disk has a state.
 */
import { KEPT } from '../../protocols/copies.ts'
import { latestCopies, restore } from './copies.ts'
import type { Strategy } from './strategy.ts'

/** Age of a state, in intervals, up to which it counts as recent. */
const INTERVALS_MAX = 2

/** The row of states on disks. */
export const kept: Strategy = {
  name: KEPT,
  // The form of the state on disk. Holders write to their own disks only, so no member gets a copy.
  copies: ({ kept: { everySteps } }) => ({
    applies: () => false,
    everySteps: () => everySteps,
    maxAge: () => INTERVALS_MAX * everySteps,
    form: { weights: 'float32', moments: 'float32' },
    shards: { data: 1, parity: 0 },
    inTurn: false,
    keepers: () => [],
  }),
  donors(loss, settings) {
    const { stage, copies } = loss
    const isThere = copies.some((copy) => copy.strategy === KEPT && copy.stage === stage)
    if (!isThere) return { reason: `stage ${stage} is on the disk of no member` }
    return latestCopies(this, loss, settings)
  },
  rebuild: ([source]) => restore(source!),
}
