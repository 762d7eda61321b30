/**
 * How the swarm agrees on the next epoch: one value an epoch, chosen by a quorum of the members of the one before
 * (single-decree Paxos, an instance an epoch; src/membership/agreement.ts says why that is safe while members change).
 */
import { z } from 'zod'
import { ballotSchema, memberSchema, originSchema } from './membership.ts'
import { procedure } from './procedure.ts'

const run = z.string().max(64)
const count = z.int().nonnegative()

/** Newcomers that one change lets in: their addresses must fit a header. */
export const JOINS_MAX = 64

/** Members that one change gives a stage or takes it from; with the newcomers they must fit a header. */
export const ASSIGNS_MAX = 512

const author = {
  /** Who may propose the epoch after this one without asking first, and under which ballot. */
  coordinator: count,
  ballot: ballotSchema,
}

const assignmentSchema = z.strictObject({
  id: count,
  stage: count.nullable(),
  ready: z.boolean(),
})
export type Assignment = z.infer<typeof assignmentSchema>

/** What makes one epoch out of the one before. */
const changeSchema = z.discriminatedUnion('type', [
  /** Every stage holds the gradient of a step: it is to be applied. */
  z.strictObject({
    type: z.literal('commit'),
    ...author,
    step: count,
    learningRate: z.number().nonnegative(),
    /** L2 norm of the whole model's mean gradient, before clipping. */
    norm: z.number().nonnegative(),
    loss: z.number(),
    /** Of the plan whose gradients are applied: those of another differ in the order in which they were added up. */
    version: count,
  }),
  z.strictObject({
    type: z.literal('members'),
    ...author,
    join: z.array(memberSchema.omit({ id: true, stage: true, ready: true })).max(JOINS_MAX),
    /** Ids. */
    leave: z.array(count).max(4096),
    assign: z.array(assignmentSchema).max(ASSIGNS_MAX),
    /** The step in hand is given up: sums become empty. */
    restart: z.boolean(),
    reason: z.string().max(256),
  }),
  /**
   * The steps after this one are given up: every holder becomes a spare, and stages are filled from its checkpoint. Nothing
   * else lets the last committed step go back.
   */
  z.strictObject({
    type: z.literal('rollback'),
    ...author,
    step: count,
    reason: z.string().max(256),
  }),
  /**
   * The run ends here and goes on with so many body stages, from a checkpoint: its members, all without a stage, are those
   * of the run whose manifest says so many, and its next epoch is chosen there.
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

/** Accept a change as the one that makes `epoch`. */
export const propose = procedure(
  '/gensyn-node/propose/2.0.0',
  z.strictObject({ run, ballot: ballotSchema, epoch: count, change: changeSchema }),
  z.strictObject({
    accepted: z.boolean(),
    /** The highest ballot that it has promised. */
    ballot: ballotSchema,
    /** The epoch that it knows. */
    epoch: count,
  }),
)

/** Promise to accept nothing under a lower ballot, and tell what has been accepted already. */
export const promise = procedure(
  '/gensyn-node/promise/2.0.0',
  z.strictObject({ run, ballot: ballotSchema, epoch: count }),
  z.strictObject({
    promised: z.boolean(),
    ballot: ballotSchema,
    epoch: count,
    accepted: z
      .strictObject({ ballot: ballotSchema, epoch: count, change: changeSchema })
      .nullable(),
    /** Why there is no promise. */
    reason: z.string().max(256),
  }),
)

/**
 * The change that makes `epoch` is chosen: carry it out. With a body, the whole roster of that epoch, for those who do
 * not know the one before; then the change may be left out. The answer comes when it is carried out: a commit is applied.
 */
export const install = procedure(
  '/gensyn-node/install/5.0.0',
  z.strictObject({ run, epoch: count, change: changeSchema.nullable() }),
  z.strictObject({
    epoch: count,
    /** SHA-256 of a holder's weights after some commits, to be compared with its replicas'. */
    digest: z.string().length(64).nullable(),
  }),
)

export type ProposeQuestion = z.infer<typeof propose.question>
export type PromiseQuestion = z.infer<typeof promise.question>
export type PromiseAnswer = z.infer<typeof promise.answer>
