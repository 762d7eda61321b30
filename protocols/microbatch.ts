/**
 * Sends a microbatch to the next hop: an activation forward, or a gradient backward. The answer means that the receiver has
 * checked and queued the microbatch, not that it has computed anything.
 */
import { z } from 'zod'
import { WIRE_DTYPES } from './codec.ts'
import { procedure } from './procedure.ts'
import { count, run } from './schemas.ts'
import { journeySchema } from './step.ts'

const microbatchSchema = z.strictObject({
  run,
  epoch: count,
  step: count,
  ...journeySchema.shape,
  purpose: z.enum(['train', 'evaluate']),
  direction: z.enum(['forward', 'backward']),
  /** Hop that works on the microbatch: an index into the route. The driver is at the route's length forward, at -1 backward. */
  position: z.int().min(-1),
  /** Encoding of the elements in the body. */
  dtype: z.enum(WIRE_DTYPES),
  /** Shape of the tensor in the body: [batch, context, hidden]. */
  shape: z.array(count).length(3),
})
export type MicrobatchHeader = z.infer<typeof microbatchSchema>

export const microbatch = procedure(
  '/gensyn-node/microbatch/2.0.0',
  microbatchSchema,
  z.strictObject({}),
)

/** Id of the member that works on a microbatch at its position. */
export function workerAt({ route, position, driver }: MicrobatchHeader): number {
  return route[position]?.id ?? driver
}

/** The stage that works on a microbatch at its position. */
export function stageAt({ route, position }: MicrobatchHeader): number {
  return route[position]?.stage ?? 0
}

/** Id of the member that sends a microbatch to its position: the hop before, in the direction of the microbatch. */
export function senderOf({ route, position, direction, driver }: MicrobatchHeader): number {
  return route[direction === 'forward' ? position - 1 : position + 1]?.id ?? driver
}
