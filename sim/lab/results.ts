/**
 * `results.json`: the results of a scenario's trials, and their summaries. The report, the tables and the figures of docs
 * are made from this file alone. It holds no real time, path or date. The same scenario gives the same bytes on any
 * machine of the same arithmetic, with any number of workers.
 */
import { z } from 'zod'

const count = z.int().min(0)
const hours = z.number().min(0).describe('Virtual hours of the scenario.')
const loss = z.number().describe('Loss in nats a token, on held-out text unless stated otherwise.')

/** Mean and half the width of its 95 % confidence interval over seeds. The width is null for a single seed. */
const estimate = z.strictObject({
  mean: z.number(),
  margin: z.number().nullable(),
  count,
})

const recovery = z.strictObject({
  iteration: count.describe('Last iteration before the stage was held again.'),
  hours: hours.describe('Time at which the stage was held again.'),
  stage: count,
  strategy: z.string(),
  skipped: z.array(z.string()).describe('Earlier strategies of the policy that could not work.'),
  seconds: z
    .number()
    .nullable()
    .describe('Virtual time from the detection of the loss until the stage was held again.'),
  bytes: count,
  stepsLost: count.describe(
    'Age of the weights: number of steps since their step until the last committed one.',
  ),
  weightError: z
    .number()
    .nullable()
    .describe(
      'L2 norm of the difference between new and lost weights, divided by the L2 norm of the lost weights; null if not played.',
    ),
  lossBefore: loss
    .nullable()
    .describe('Training loss of the last step before the loss of the stage.'),
  lossAfter: loss.nullable().describe('Training loss of the first step after the recovery.'),
})

const trial = z.strictObject({
  strategy: z.string(),
  failures: z.string().describe('Name of the failure process in the scenario.'),
  seed: z.int(),
  source: z
    .enum(['played', 'replayed'])
    .describe('replayed: computed from the undisturbed run of the same seed, see assumptions.'),
  /** Stages that failed, or peers where a failure process takes peers. */
  losses: z.array(z.strictObject({ hours, stage: count.nullable() })),
  recoveries: z.array(recovery),
  iterations: count.describe('Number of iterations, including those that a rollback repeated.'),
  hours: hours.describe('Time of the last iteration.'),
  finalLoss: loss.nullable().describe('Loss at the end; null if nothing was evaluated.'),
  reached: z
    .strictObject({ iterations: z.number(), hours })
    .nullable()
    .describe(
      'Point at which the target loss was reached, interpolated between two evaluations; null if it was not reached.',
    ),
  goodput: z
    .number()
    .describe(
      'Share of all hours: the time that the surviving iterations would take without disturbance.',
    ),
  /** Mean bytes of an iteration by purpose: activations, weights, upkeep, agreement, store. */
  bytesPerIteration: z.record(z.string(), count),
  curve: z
    .array(z.tuple([count, hours, loss]))
    .describe('Number of iterations, hour, held-out loss.'),
  failure: z
    .string()
    .nullable()
    .describe('Reason why the run ended before its budget; null if it did not.'),
})

const summary = z.strictObject({
  strategy: z.string(),
  failures: z.string(),
  seeds: count,
  reached: count.describe('Number of seeds that reached the target within the budget.'),
  hoursToTarget: estimate
    .nullable()
    .describe('Hours of the seeds that reached the target; null if none did.'),
  iterationsToTarget: estimate.nullable(),
  finalLoss: estimate.nullable(),
  goodput: estimate,
  losses: z.number().describe('Mean number of lost stages.'),
  megabytesPerIteration: z.number(),
})

const recommendation = z.strictObject({
  failures: z.string(),
  strategy: z.string().nullable(),
  sentence: z.string(),
})

const CLAIM_VERDICTS = ['held', 'not held', 'not decidable'] as const

const claim = z.strictObject({
  number: z.int(),
  claim: z.string(),
  paper: z.string().describe('Number in the paper.'),
  ours: z.string().describe('Our number, with its confidence interval.'),
  verdict: z.enum(CLAIM_VERDICTS),
  why: z.string(),
})

export const resultsSchema = z.strictObject({
  format: z.literal('gensyn-results'),
  version: z.literal(1),
  scenario: z.strictObject({
    name: z.string(),
    says: z.string(),
    hash: z.string(),
    mode: z.enum(['learn', 'replay', 'scale']),
  }),
  assumptions: z
    .array(z.string())
    .describe('Assumptions behind the numbers, for readers of the results.'),
  targetLoss: loss.nullable(),
  strategies: z.array(z.strictObject({ name: z.string(), says: z.string() })),
  failures: z.array(z.strictObject({ name: z.string(), says: z.string() })),
  summary: z.array(summary),
  recommendations: z.array(recommendation),
  claims: z.array(claim),
  trials: z.array(trial),
})

export type Results = z.output<typeof resultsSchema>
export type TrialResult = z.output<typeof trial>
export type Summary = z.output<typeof summary>
export type Recommendation = z.output<typeof recommendation>
export type Claim = z.output<typeof claim>
export type RecoveryResult = z.output<typeof recovery>
