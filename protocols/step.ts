/** Procedures of a step: hold a stage, compute gradients, add the sums of replicas, evaluate. */
import { z } from 'zod'
import { copyNameSchema } from './copies.ts'
import type { Loss } from './drives.ts'
import { ERROR_CODES } from './errors.ts'
import { procedure } from './procedure.ts'
import { count, memberId, peerId, run, strategyName } from './schemas.ts'
import { CHUNK_ELEMENTS } from './weights.ts'

/** Fence of all work of a step: the run, the epoch that last reset the gradient sums, and the step. */
const fence = { run, epoch: count, step: count }

type Hop = {
  readonly stage: number
  /** Id of the member that works on this stage. */
  readonly id: number
}

export const HOPS_MAX = 1024

/** Microbatches of one step. */
export const MICROBATCHES_MAX = 4096

const indices = z.array(count.max(MICROBATCHES_MAX - 1)).max(MICROBATCHES_MAX)

/**
 * Body stages that a microbatch visits, in order, with a member for each. Every message of a microbatch carries the route.
 * One function checks the route, which avoids the cost of nested schemas for each message.
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

/** Path of a microbatch. After the loss of a holder on the path the driver sends the microbatch again with a higher attempt. */
export const journeySchema = z.strictObject({
  /** Index of the microbatch within the step. */
  index: count,
  attempt: count,
  /** Id of the member that reads the tokens and computes the loss. */
  driver: count,
  route: routeSchema,
})
export type Journey = z.infer<typeof journeySchema>

const donorSchema = z.strictObject({
  stage: count,
  peer: peerId,
  /** Name of a copy that the donor keeps; null for the state of its own stage. */
  copy: copyNameSchema.nullable(),
})
export type Donor = z.infer<typeof donorSchema>

/**
 * Makes a member hold a stage, with weights from a recovery strategy. The strategy `seed` draws the initial weights. All others
 * use donors.
 */
export const hold = procedure(
  '/gensyn-node/hold/4.0.0',
  z.strictObject({
    run,
    epoch: count,
    /** Last committed step. */
    step: count,
    stage: count,
    strategy: strategyName,
    donors: z.array(donorSchema).max(256),
  }),
  z.strictObject({
    /** Bytes fetched from the donors. */
    bytes: count,
    /** Duration, in seconds. */
    seconds: z.number().nonnegative(),
    /** Factor of the stage's learning rate from now on. */
    learningRateScale: z.number().positive(),
    /** Committed step of the fetched weights. */
    ofStep: count,
    /** Gradient norm of each donor, used as the weight of its state. */
    norms: z.array(z.number().nonnegative()).max(256),
  }),
)

/**
 * Asks a holder for its part of the gradients of a step. The answer comes when the holder has counted each `expected`
 * microbatch once, and sent each on. A later version of the plan replaces an earlier one. For a stage with one holder and no
 * new replica the sum is the total. The answer then has the norm, which saves the round of `reduce`.
 *
 * The body of the question has the microbatches that the holder drives (drives.ts). One with a higher attempt than before
 * starts again. The body of the answer has their losses.
 */
export const prepare = procedure(
  '/gensyn-node/prepare/4.0.0',
  z.strictObject({
    ...fence,
    /** Version of the plan. */
    version: count,
    /** True if no other member needs the total: the stage has no replica and no new replica. */
    alone: z.boolean(),
    /** Indices of microbatches. */
    expected: indices,
  }),
  z.strictObject({
    /** Indices of the microbatches in the holder's gradient sum. */
    counted: indices,
    /** L2 norm of the stage's mean gradient, before clipping, if `alone`; null otherwise. */
    norm: z.number().nonnegative().nullable(),
    /** Time spent computing since the step began, in seconds. */
    busySeconds: z.number().nonnegative(),
  }),
)

/** Most ranges that the sums of one stage are split into. */
export const OWNERS_MAX = 4

/**
 * Adds the gradient sums of a stage's replicas, once all holders have counted. All holders and new replicas of the stage get
 * the total. The answer comes when the asked holder has the total.
 */
export const reduce = procedure(
  '/gensyn-node/reduce/3.0.0',
  z.strictObject({
    ...fence,
    version: count,
    stage: count,
    /** Holders that add up one range of all sums each. */
    owners: z.array(memberId).min(1).max(OWNERS_MAX),
    /** Holders that have counted a microbatch, in the order in which their sums are added. */
    contributors: z.array(memberId).max(MICROBATCHES_MAX),
  }),
  z.strictObject({
    /** L2 norm of the stage's mean gradient, before clipping. */
    norm: z.number().nonnegative(),
  }),
)

/**
 * Asks a spare to become a replica of a stage that others hold. The spare builds the stage. The roster then has the member
 * with `ready` false. From then on the member gets the total of every step, and applies the totals after it has fetched the
 * state.
 */
export const learn = procedure(
  '/gensyn-node/learn/1.0.0',
  z.strictObject({ run, stage: count }),
  z.strictObject({}),
)

/** To the coordinator: the new replica has the current state, or has failed. */
export const learnt = procedure(
  '/gensyn-node/learnt/1.0.0',
  z.strictObject({
    run,
    stage: count,
    /** Reason of a failure; null for success. */
    failure: z.string().max(2000).nullable(),
    /** Bytes fetched from the donors. */
    bytes: count,
    /** Duration, in seconds. */
    seconds: z.number().nonnegative(),
    learningRateScale: z.number().positive(),
  }),
  z.strictObject({}),
)

/**
 * From an understudy to the holder of a stage: keep the current state unchanged until `studied`. The understudy gets the total
 * of every step from now on.
 */
export const study = procedure(
  '/gensyn-node/study/1.0.0',
  z.strictObject({
    run,
    stage: count,
    /** True if the understudy received its state from this holder before. If `same`, the holder keeps nothing. */
    has: z.boolean(),
  }),
  z.strictObject({
    /** Committed step of the state. */
    step: count,
    /** True if the holder has the same state as the understudy. */
    same: z.boolean(),
  }),
)

/** From an understudy: it has the whole state, and the holder may release the kept state. */
export const studied = procedure(
  '/gensyn-node/studied/1.0.0',
  z.strictObject({ run, stage: count }),
  z.strictObject({}),
)

/** A piece of a replica's gradient sum, or of the total of all replicas, as float32 in the body. */
export const gradients = procedure(
  '/gensyn-node/gradients/2.0.0',
  z.strictObject({
    ...fence,
    version: count,
    stage: count,
    kind: z.enum(['sum', 'total']),
    /** First element of the piece in the flat buffer. `length` counts elements, too. */
    offset: count,
    length: count.min(1).max(CHUNK_ELEMENTS),
  }),
  z.strictObject({ sha256: z.string().length(64) }),
)

/** From a holder to the coordinator: a microbatch could not be sent on, or could not be computed. */
export const report = procedure(
  '/gensyn-node/report/2.0.0',
  z.strictObject({
    ...fence,
    index: count,
    attempt: count,
    /** Id of the unreachable next member; null if the computation failed. */
    to: count.nullable(),
    code: z.enum(ERROR_CODES),
    reason: z.string().max(2000),
  }),
  z.strictObject({}),
)

/**
 * Computes the held-out microbatches along their routes. The answer comes when the holder has sent each one on. The bodies are
 * those of `prepare`.
 */
export const evaluate = procedure(
  '/gensyn-node/evaluate/3.0.0',
  z.strictObject({
    ...fence,
    expected: indices,
  }),
  z.strictObject({}),
)

/** The body of a question about a step, decoded. */
interface WithDrives {
  readonly drives: readonly Journey[]
}

/** The body of an answer about a step, decoded. */
interface WithLosses {
  readonly losses: readonly Loss[]
}

export type HoldQuestion = z.infer<typeof hold.question>
export type HoldAnswer = z.infer<typeof hold.answer>
export type PrepareQuestion = z.infer<typeof prepare.question> & WithDrives
export type PrepareAnswer = z.infer<typeof prepare.answer> & WithLosses
export type ReduceQuestion = z.infer<typeof reduce.question>
export type GradientsQuestion = z.infer<typeof gradients.question>
export type EvaluateQuestion = z.infer<typeof evaluate.question> & WithDrives
export type LearntQuestion = z.infer<typeof learnt.question>
export type ReportQuestion = z.infer<typeof report.question>
