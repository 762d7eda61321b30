/** The coordinator's side of a step: hold a stage, make the gradients, commit, measure. */
import { z } from 'zod'
import { procedure } from './procedure.ts'

const peerId = z.string().min(1).max(128)
const count = z.int().nonnegative()
const fence = { run: z.string().max(64), epoch: count, step: count }

const hopSchema = z.strictObject({ stage: count, peer: peerId })
/** The body stages that a microbatch visits, in order, each with the peer that holds it. */
export const routeSchema = z.array(hopSchema).min(1).max(1024)
export type Route = z.infer<typeof routeSchema>

/** Take a stage, with weights from a strategy. `seed` makes the initial weights; any other needs its donors. */
export const hold = procedure(
  '/gensyn-node/hold/1.0.0',
  z.strictObject({
    ...fence,
    stage: count,
    strategy: z.string().max(32),
    donors: z.array(hopSchema).max(64),
  }),
  z.strictObject({
    /** Bytes fetched from the donors. */
    bytes: count,
    seconds: z.number().nonnegative(),
    /** What this stage's learning rate is multiplied with from now on. */
    learningRateScale: z.number().positive(),
    /** Gradient norm of each donor, as it weighed in. */
    norms: z.array(z.number().nonnegative()),
  }),
)

/**
 * Make the gradients of step `step`: the answer comes when this stage has counted each of the microbatches once.
 * The driver (holder of the ends) starts them along their routes.
 */
export const prepare = procedure(
  '/gensyn-node/prepare/1.0.0',
  z.strictObject({ ...fence, routes: z.array(routeSchema).min(1).max(4096) }),
  z.strictObject({
    /** Microbatches counted in the gradient sum. */
    counted: count,
    /** L2 norm of the stage's mean gradient, before clipping. */
    norm: z.number().nonnegative(),
    /** Mean cross-entropy in nats a token, a microbatch each; from the driver only. */
    losses: z.array(z.number()).nullable(),
    /** Seconds that the stage spent computing. */
    busySeconds: z.number().nonnegative(),
  }),
)

/** Every stage has its sum: apply it. */
export const commit = procedure(
  '/gensyn-node/commit/1.0.0',
  z.strictObject({ ...fence, learningRate: z.number().nonnegative(), loss: z.number() }),
  z.strictObject({ committed: count }),
)

/** Pass the held-out microbatches on along their routes: the answer comes when this stage has done so with each. */
export const evaluate = procedure(
  '/gensyn-node/evaluate/1.0.0',
  z.strictObject({ ...fence, routes: z.array(routeSchema).min(1).max(4096) }),
  z.strictObject({
    /** Their mean loss, nats a token; from the driver only. */
    loss: z.number().nullable(),
  }),
)

export type HoldQuestion = z.infer<typeof hold.question>
export type HoldAnswer = z.infer<typeof hold.answer>
export type CommitQuestion = z.infer<typeof commit.question>
