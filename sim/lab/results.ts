/**
 * `results.json`: all that a scenario's trials gave, and what follows from it. The report, the tables and the figures of
 * docs are made from this file and from nothing else. It holds no real time, no path and no date: the same scenario gives
 * the same bytes on any machine of the same arithmetic, with any number of workers.
 */
import { z } from 'zod'

const count = z.int().min(0)
const hours = z.number().min(0).describe('Hours of the scenario, virtual ones.')
const loss = z.number().describe('Nats a token, on held-out text unless said otherwise.')

/** Half the width of the 95 % confidence interval over seeds; null where there is one seed alone. */
const estimate = z.strictObject({
  mean: z.number(),
  margin: z.number().nullable(),
  count,
})

const recovery = z.strictObject({
  iteration: count.describe('The last one that was made before the stage was held again.'),
  hours: hours.describe('When the stage was held again.'),
  stage: count,
  strategy: z.string(),
  skipped: z
    .array(z.string())
    .describe('Strategies before it in the policy that could not be used.'),
  seconds: z
    .number()
    .nullable()
    .describe('From noticing the loss until the stage was held again; virtual.'),
  bytes: count,
  stepsLost: count.describe(
    'By how many steps the weights are older than the last committed ones.',
  ),
  weightError: z
    .number()
    .nullable()
    .describe(
      'Of the new weights against the lost ones: L2 norm of the difference over that of the lost ones; null if not played.',
    ),
  lossBefore: loss.nullable().describe('Training loss of the last step before.'),
  lossAfter: loss.nullable().describe('Training loss of the first step after.'),
})

const trial = z.strictObject({
  strategy: z.string(),
  failures: z.string().describe("The failure process' name in the scenario."),
  seed: z.int(),
  source: z
    .enum(['played', 'replayed'])
    .describe('replayed: computed from the undisturbed run of the same seed, see assumptions.'),
  /** Stages (or peers, where a process takes peers) that failed. */
  losses: z.array(z.strictObject({ hours, stage: count.nullable() })),
  recoveries: z.array(recovery),
  iterations: count.describe('Made, those counted again that were made again after a rollback.'),
  hours: hours.describe('When the last of them was made.'),
  finalLoss: loss.nullable().describe('At the end; null if nothing was evaluated.'),
  reached: z
    .strictObject({ iterations: z.number(), hours })
    .nullable()
    .describe('The target loss, between two evaluations by interpolation; null if it was not.'),
  goodput: z
    .number()
    .describe(
      'Iterations that are not lost again, in the time of an undisturbed one, as a share of all hours.',
    ),
  /** Of an average iteration, by what they were for: activations, weights, upkeep, agreement, store. */
  bytesPerIteration: z.record(z.string(), count),
  curve: z
    .array(z.tuple([count, hours, loss]))
    .describe('After so many iterations, at that hour, that held-out loss.'),
  failure: z
    .string()
    .nullable()
    .describe('Why the run came to an end before its budget; null if it did not.'),
})

const summary = z.strictObject({
  strategy: z.string(),
  failures: z.string(),
  seeds: count,
  reached: count.describe('Seeds that reached the target within the budget.'),
  hoursToTarget: estimate.nullable().describe('Of those that reached it; null if none did.'),
  iterationsToTarget: estimate.nullable(),
  finalLoss: estimate.nullable(),
  goodput: estimate,
  losses: z.number().describe('Stages lost, on average.'),
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
  paper: z.string().describe("The paper's number."),
  ours: z.string().describe('Ours, with its confidence interval.'),
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
    .describe('What whoever reads the numbers must know, a sentence each.'),
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
