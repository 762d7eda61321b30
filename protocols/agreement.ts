/**
 * Procedures by which the swarm agrees on the next epoch. A quorum of the members of an epoch chooses one change for the next.
 * This is single-decree Paxos with an instance for each epoch. src/membership/agreement.ts explains its safety while members
 * change.
 */
import { z } from 'zod'
import { ballotSchema, memberSchema, originSchema } from './membership.ts'
import { procedure } from './procedure.ts'
import { addresses, count, run } from './schemas.ts'

/** New members in one change. Their addresses must fit a header. */
export const JOINS_MAX = 64

/** Assignments of stages in one change. Together with the new members they must fit a header. */
export const ASSIGNS_MAX = 512

const author = {
  /** Id of the member that may propose the next epoch without a promise, under `ballot`. */
  coordinator: count,
  ballot: ballotSchema,
}

const assignmentSchema = z.strictObject({
  id: count,
  stage: count.nullable(),
  ready: z.boolean(),
})
export type Assignment = z.infer<typeof assignmentSchema>

/** New addresses of a member. */
const moveSchema = z.strictObject({ id: count, addresses })
export type Move = z.infer<typeof moveSchema>

/** Change of the roster from one epoch to the next. */
const changeSchema = z.discriminatedUnion('type', [
  /** All stages have the gradient of a step, and apply it. */
  z.strictObject({
    type: z.literal('commit'),
    ...author,
    step: count,
    learningRate: z.number().nonnegative(),
    /** L2 norm of the whole model's mean gradient, before clipping. */
    norm: z.number().nonnegative(),
    /** Training loss, in nats a token. */
    loss: z.number(),
    /** Version of the plan whose gradients are applied. Another version adds the gradients in another order. */
    version: count,
  }),
  z.strictObject({
    type: z.literal('members'),
    ...author,
    join: z.array(memberSchema.omit({ id: true, stage: true, ready: true })).max(JOINS_MAX),
    /** Ids of members that leave. */
    leave: z.array(count).max(4096),
    assign: z.array(assignmentSchema).max(ASSIGNS_MAX),
    /** Members that others reach at other addresses now. */
    move: z.array(moveSchema).max(JOINS_MAX).optional(),
    /** True if the current step is abandoned and its gradient sums are reset. */
    restart: z.boolean(),
    reason: z.string().max(256),
  }),
  /**
   * The swarm goes back to a checkpoint and abandons all later steps. Every holder becomes a spare, and the stages are filled
   * from the checkpoint. Only this change lowers the last committed step.
   */
  z.strictObject({
    type: z.literal('rollback'),
    ...author,
    step: count,
    reason: z.string().max(256),
  }),
  /**
   * The run ends, and continues from a checkpoint with another number of body stages. Its members become members of the run
   * with that number in its manifest, without stages. The next epoch is chosen in that run.
   */
  z.strictObject({
    type: z.literal('reshard'),
    ...author,
    stages: count.min(1),
    origin: originSchema,
    reason: z.string().max(256),
  }),
])
export type Change = z.infer<typeof changeSchema>

/** Asks a member to accept a change that makes `epoch`. */
export const propose = procedure(
  '/gensyn-node/propose/4.0.0',
  z.strictObject({ run, ballot: ballotSchema, epoch: count, change: changeSchema }),
  z.strictObject({
    accepted: z.boolean(),
    /** Highest ballot that the member has promised. */
    ballot: ballotSchema,
    /** Epoch of the member. */
    epoch: count,
  }),
)

/** Asks a member to promise that it accepts no lower ballot. The answer has the change accepted before. */
export const promise = procedure(
  '/gensyn-node/promise/4.0.0',
  z.strictObject({ run, ballot: ballotSchema, epoch: count }),
  z.strictObject({
    promised: z.boolean(),
    ballot: ballotSchema,
    epoch: count,
    accepted: z
      .strictObject({ ballot: ballotSchema, epoch: count, change: changeSchema })
      .nullable(),
    /** Reason if there is no promise. */
    reason: z.string().max(256),
  }),
)

/**
 * Tells a member that the change for `epoch` is chosen. The answer comes when the member has applied the change; for a commit,
 * the optimizer update. A body has the whole roster of that epoch, for a member that lacks the epoch before. The change may
 * then be null.
 */
export const install = procedure(
  '/gensyn-node/install/7.0.0',
  z.strictObject({ run, epoch: count, change: changeSchema.nullable() }),
  z.strictObject({
    epoch: count,
    /** SHA-256 of a holder's weights after some commits, for comparison with its replicas; null otherwise. */
    digest: z.string().length(64).nullable(),
  }),
)

export type ProposeQuestion = z.infer<typeof propose.question>
export type PromiseQuestion = z.infer<typeof promise.question>
export type PromiseAnswer = z.infer<typeof promise.answer>
