/** A copy of a stage's weights after one step, for somebody who is no member: training goes on while it is fetched. */
import { z } from 'zod'
import { procedure } from './procedure.ts'

const count = z.int().nonnegative()

/**
 * Keep a copy of the weights as they are after `step`, which may be the last committed one or one that is yet to come.
 * The answer comes when it is kept; chunks are then asked for as of any donor (`weights.ts`). One peer at a time has a
 * copy, until it asks for another step or its connection ends.
 */
export const snapshot = procedure(
  '/gensyn-node/snapshot/1.0.0',
  z.strictObject({ run: z.string().max(64), stage: count, step: count }),
  z.strictObject({}),
)
