/**
 * The whole swarm goes back to the last complete checkpoint: every stage, the lost ones among them, reads its state of that
 * step from the store. Nothing is lost but the steps since, which the same data make again to the last bit.
 */
import type { Strategy } from './strategy.ts'

export const checkpoint: Strategy = {
  name: 'checkpoint',
  donors: ({ noCheckpoint }) => (noCheckpoint === null ? [] : { reason: noCheckpoint }),
  rebuild() {
    throw new Error('a checkpoint is read from its store, not made from donors')
  },
}
