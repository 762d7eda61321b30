/**
 * Checkpoint and rollback. The whole swarm goes back to the last complete checkpoint: every stage reads its state of
 * that step from the store. The steps since then are made again from the same data.
 */
import type { Strategy } from './strategy.ts'

/** The row of checkpoint and rollback. The coordinator rolls back instead of calling `rebuild`. */
export const checkpoint: Strategy = {
  name: 'checkpoint',
  donors: ({ noCheckpoint }) => (noCheckpoint === null ? [] : { reason: noCheckpoint }),
  rebuild() {
    throw new Error('a checkpoint is read from its store, not rebuilt from donors')
  },
}
