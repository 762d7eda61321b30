/**
 * A microbatch on its way: an activation forward, or a gradient back. The answer says that it is in the receiver's
 * inbox, checked, not that it has been worked on.
 */
import { z } from 'zod'
import { WIRE_DTYPES } from './codec.ts'
import { procedure } from './procedure.ts'
import { routeSchema } from './step.ts'

const count = z.int().nonnegative()

const microbatchSchema = z.strictObject({
  run: z.string().max(64),
  epoch: count,
  step: count,
  /** Its number within the step. */
  index: count,
  purpose: z.enum(['train', 'evaluate']),
  direction: z.enum(['forward', 'backward']),
  route: routeSchema,
  /** Whose turn it is: an index into the route, or its length (forward) or -1 (backward) for the driver. */
  position: z.int().min(-1),
  driver: z.string().min(1).max(128),
  /** How the elements travel. */
  dtype: z.enum(WIRE_DTYPES),
  /** [batch, context, hidden] of the body. */
  shape: z.array(count).length(3),
})
export type MicrobatchHeader = z.infer<typeof microbatchSchema>

export const microbatch = procedure(
  '/gensyn-node/microbatch/1.0.0',
  microbatchSchema,
  z.strictObject({}),
)

/** Who is to work on a microbatch at its position. */
export function peerAt({ route, position, driver }: MicrobatchHeader): string {
  return route[position]?.peer ?? driver
}

/** The stage that works on a microbatch at its position. */
export function stageAt({ route, position }: MicrobatchHeader): number {
  return route[position]?.stage ?? 0
}

/** Who hands on a microbatch that is at its position: the hop before it, in its direction. */
export function senderOf({ route, position, direction, driver }: MicrobatchHeader): string {
  return route[direction === 'forward' ? position - 1 : position + 1]?.peer ?? driver
}
