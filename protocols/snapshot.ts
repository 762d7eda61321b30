/** Procedure that copies a stage's weights after one step for a peer that is no member. Training continues meanwhile. */
import { z } from 'zod'
import { procedure } from './procedure.ts'
import { count, run } from './schemas.ts'

/**
 * Asks a holder to copy its weights after `step`: the last committed step, or a later one. The answer comes when the copy
 * exists. The peer then fetches chunks as from any donor (`weights.ts`). A holder keeps one copy for one peer. The copy is
 * released when the peer asks for another step, or when its connection ends.
 */
export const snapshot = procedure(
  '/gensyn-node/snapshot/1.0.0',
  z.strictObject({ run, stage: count, step: count }),
  z.strictObject({}),
)
