/** The coordinator's side of a step: hold a stage, make the gradients, bring replicas' sums together, measure. */
import { z } from 'zod'
import { copyNameSchema } from './copies.ts'
import { procedure } from './procedure.ts'

const count = z.int().nonnegative()
/** A step, and the epoch since which its sums have been growing. */
const fence = { run: z.string().max(64), epoch: count, step: count }

interface Hop {
  readonly stage: number
  /** Id of the member that works there. */
  readonly id: number
}

const HOPS_MAX = 1024

/**
 * The body stages that a microbatch visits, in order. The route comes with every message of a microbatch and has a hop
 * for each stage: one function checks it in a tenth of the time that a schema of schemas takes.
 */
const routeSchema = z.custom<Hop[]>(isRoute)

function isRoute(value: unknown): boolean {
  return Array.isArray(value) && value.length >= 1 && value.length <= HOPS_MAX && value.every(isHop)
}

function isHop(value: unknown): value is Hop {
  if (typeof value !== 'object' || value === null) return false
  const { stage, id } = value as Hop
  return isCount(stage) && isCount(id) && Object.keys(value).length === 2
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

/** A microbatch's journey. Driven again, after a holder on its way was lost, it goes under a higher attempt. */
export const journeySchema = z.strictObject({
  index: count,
  attempt: count,
  /** Id of the member that makes its tokens and its loss. */
  driver: count,
  route: routeSchema,
})
export type Journey = z.infer<typeof journeySchema>

const donorSchema = z.strictObject({
  stage: count,
  peer: z.string().min(1).max(128),
  /** A copy that it keeps; null for the state of the stage that it holds. */
  copy: copyNameSchema.nullable(),
})
export type Donor = z.infer<typeof donorSchema>

/** Take a stage, with weights from a strategy. `seed` makes the initial weights; any other needs its donors. */
export const hold = procedure(
  '/gensyn-node/hold/3.0.0',
  z.strictObject({
    run: z.string().max(64),
    epoch: count,
    /** The last committed step. */
    step: count,
    stage: count,
    strategy: z.string().max(32),
    donors: z.array(donorSchema).max(256),
  }),
  z.strictObject({
    /** Bytes fetched from the donors. */
    bytes: count,
    seconds: z.number().nonnegative(),
    /** What this stage's learning rate is multiplied with from now on. */
    learningRateScale: z.number().positive(),
    /** The committed step that the weights are of. */
    ofStep: count,
    /** Gradient norm of each donor, as it weighed in. */
    norms: z.array(z.number().nonnegative()),
  }),
)

/**
 * Make this holder's part of the gradients of a step: the answer comes when it has counted each of the microbatches
 * that are `expected` of it once, and handed each on. A later version of the plan takes the place of an earlier one.
 * Where nobody else has a part in the stage, its sum is the total, and the answer says so: a round less than `reduce`.
 */
export const prepare = procedure(
  '/gensyn-node/prepare/3.0.0',
  z.strictObject({
    ...fence,
    version: count,
    /** Nobody else needs the total: no replica, and none that learns the stage. */
    alone: z.boolean(),
    /** Indices of microbatches. */
    expected: z.array(count).max(4096),
    /** The microbatches that it is to drive: those of a higher attempt than before start anew. */
    drives: z.array(journeySchema).max(4096),
  }),
  z.strictObject({
    /** Indices of the microbatches in its gradient sum. */
    counted: z.array(count).max(4096),
    /** Mean cross-entropy in nats a token of each that it drove. */
    losses: z.array(z.strictObject({ index: count, loss: z.number() })).max(4096),
    /** L2 norm of the stage's mean gradient, before clipping, of one that is alone; null otherwise. */
    norm: z.number().nonnegative().nullable(),
    /** Seconds spent computing, since the step began. */
    busySeconds: z.number().nonnegative(),
  }),
)

/**
 * All holders have counted: bring the sums of a stage's replicas together, for them and for those that learn the stage.
 * `holders` are all of the stage, in the order in which their sums are added; the answer comes when this one has the total.
 */
export const reduce = procedure(
  '/gensyn-node/reduce/2.0.0',
  z.strictObject({
    ...fence,
    version: count,
    holders: z
      .array(z.strictObject({ id: count, counted: count }))
      .min(1)
      .max(4096),
  }),
  z.strictObject({
    /** L2 norm of the stage's mean gradient, before clipping. */
    norm: z.number().nonnegative(),
  }),
)

/**
 * Get ready to learn a stage that others hold: build it. The roster then names this member as one that is not ready, and
 * from then on it gets the total of every step, with which it catches up once it has fetched the state.
 */
export const learn = procedure(
  '/gensyn-node/learn/1.0.0',
  z.strictObject({ run: z.string().max(64), stage: count }),
  z.strictObject({}),
)

/** To the coordinator: this member has caught up, or cannot. */
export const learnt = procedure(
  '/gensyn-node/learnt/1.0.0',
  z.strictObject({
    run: z.string().max(64),
    stage: count,
    failure: z.string().max(2000).nullable(),
    /** Bytes fetched from the donors. */
    bytes: count,
    seconds: z.number().nonnegative(),
    learningRateScale: z.number().positive(),
  }),
  z.strictObject({}),
)

/**
 * To the holder of a stage, from its understudy, which has the total of every step from now on: freeze the state as it
 * is, until `studied`.
 */
export const study = procedure(
  '/gensyn-node/study/1.0.0',
  z.strictObject({
    run: z.string().max(64),
    stage: count,
    /** It has a state already: does the holder have its own from there? Then nothing is frozen. */
    has: z.boolean(),
  }),
  z.strictObject({
    /** The committed step that the state is of. */
    step: count,
    /** The holder's state is what the understudy has. */
    same: z.boolean(),
  }),
)

/** The understudy has the whole state, and needs it frozen no more. */
export const studied = procedure(
  '/gensyn-node/studied/1.0.0',
  z.strictObject({ run: z.string().max(64), stage: count }),
  z.strictObject({}),
)

/** A piece of a replica's own sum, or of the total of all, as float32 in the body. */
export const gradients = procedure(
  '/gensyn-node/gradients/1.0.0',
  z.strictObject({
    ...fence,
    version: count,
    stage: count,
    kind: z.enum(['sum', 'total']),
    /** In elements of the flat buffer. */
    offset: count,
    length: count.min(1),
  }),
  z.strictObject({ sha256: z.string().length(64) }),
)

/** A holder could not hand a microbatch on, or not work on it. */
export const report = procedure(
  '/gensyn-node/report/1.0.0',
  z.strictObject({
    ...fence,
    index: count,
    attempt: count,
    /** Id of the member that it could not be handed to; null if the work itself failed. */
    to: count.nullable(),
    code: z.string().max(32),
    reason: z.string().max(2000),
  }),
  z.strictObject({}),
)

/** Pass the held-out microbatches on along their routes: the answer comes when this holder has done so with each. */
export const evaluate = procedure(
  '/gensyn-node/evaluate/2.0.0',
  z.strictObject({
    ...fence,
    expected: z.array(count).max(4096),
    drives: z.array(journeySchema).max(4096),
  }),
  z.strictObject({
    /** Of those that it drove, nats a token. */
    losses: z.array(z.strictObject({ index: count, loss: z.number() })).max(4096),
  }),
)

export type HoldQuestion = z.infer<typeof hold.question>
export type HoldAnswer = z.infer<typeof hold.answer>
export type PrepareQuestion = z.infer<typeof prepare.question>
export type PrepareAnswer = z.infer<typeof prepare.answer>
export type ReduceQuestion = z.infer<typeof reduce.question>
export type GradientsQuestion = z.infer<typeof gradients.question>
export type EvaluateQuestion = z.infer<typeof evaluate.question>
export type LearntQuestion = z.infer<typeof learnt.question>
export type ReportQuestion = z.infer<typeof report.question>
