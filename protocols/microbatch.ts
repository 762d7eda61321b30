/**
 * A microbatch on its way: an activation forward, or a gradient back. The answer says that it is in the receiver's
 * inbox, checked, not that it has been worked on.
 */
import { z } from 'zod'
import { WIRE_DTYPES } from './codec.ts'
import { procedure } from './procedure.ts'
import { journeySchema } from './step.ts'

const count = z.int().nonnegative()

const microbatchSchema = z.strictObject({
  run: z.string().max(64),
  epoch: count,
  step: count,
  ...journeySchema.shape,
  purpose: z.enum(['train', 'evaluate']),
  direction: z.enum(['forward', 'backward']),
  /** Whose turn it is: an index into the route, or its length (forward) or -1 (backward) for the driver. */
  position: z.int().min(-1),
  /** How the elements travel. */
  dtype: z.enum(WIRE_DTYPES),
  /** [batch, context, hidden] of the body. */
  shape: z.array(count).length(3),
})
export type MicrobatchHeader = z.infer<typeof microbatchSchema>

export const microbatch = procedure(
  '/gensyn-node/microbatch/2.0.0',
  microbatchSchema,
  z.strictObject({}),
)

/** The id of the member that is to work on a microbatch at its position. */
export function workerAt({ route, position, driver }: MicrobatchHeader): number {
  return route[position]?.id ?? driver
}

/** The stage that works on a microbatch at its position. */
export function stageAt({ route, position }: MicrobatchHeader): number {
  return route[position]?.stage ?? 0
}

/** The id of the member that hands on a microbatch which is at its position: the hop before it, in its direction. */
export function senderOf({ route, position, direction, driver }: MicrobatchHeader): number {
  return route[direction === 'forward' ? position - 1 : position + 1]?.id ?? driver
}
