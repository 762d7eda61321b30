/**
 * Schema of a scenario: the model, the network, the failures and the compared strategies. `sim --list` is made from this
 * table, and a test compares docs/SIMULATOR.md with it.
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { DOMAIN_LENGTH } from '../../protocols/membership.ts'
import { InputError, systemCode } from '../../src/base/errors.ts'
import { BUNDLED } from './bundled.ts'
import { failureSchema } from './failures/table.ts'
import { STRATEGY_NAMES, strategySchema } from './strategies.ts'

const positive = z.number().positive()
const count = z.int().min(1)

const place = z.strictObject({
  latencyMs: z.number().min(0).describe('Latency one way.'),
  mbitPerSecond: positive.describe(
    "Rate of a peer's uplink to this destination. The peer's transfers share the rate.",
  ),
})

const network = z.strictObject({
  regions: z
    .array(z.string().min(1).max(DOMAIN_LENGTH))
    .min(1)
    .default(['home'])
    .describe('Regions of the peers, assigned in turn.'),
  within: place
    .default({ latencyMs: 20, mbitPerSecond: 20 })
    .describe('Link between two peers of one region.'),
  between: z
    .array(
      place.extend({
        regions: z.tuple([z.string(), z.string()]),
        shared: z
          .boolean()
          .default(false)
          .describe(
            'true: all transfers between the two regions share the rate, in both directions.',
          ),
      }),
    )
    .default([])
    .describe('Links between two regions, both ways. Any other pair has the link of `within`.'),
})

const compute = z.strictObject({
  calibration: z
    .string()
    .optional()
    .describe(
      'A calibration.json of `gensyn-node bench`, beside this file. All peers share the measured machine. Of the other settings of compute only the speeds count.',
    ),
  forwardMs: positive
    .default(20)
    .describe('Time of one microbatch forward through one body stage.'),
  backwardMs: positive
    .default(60)
    .describe(
      'Time of one microbatch backward through one body stage, with recomputed activations.',
    ),
  endsMs: positive.default(20).describe('Time of the loss of a microbatch and of its gradient.'),
  updateMs: positive.default(5).describe("Time of a stage's update."),
  startMs: z
    .number()
    .min(0)
    .default(500)
    .describe('Time from the assignment of a stage until the peer can compute.'),
  speeds: z
    .array(positive)
    .min(1)
    .default([1])
    .describe('Speeds of the peers, assigned in turn: 2 is twice as fast.'),
})

const budget = z.strictObject({
  iterations: count
    .default(1_000)
    .describe('Number of iterations after which a run ends. The mode scale uses hours only.'),
  hours: positive.nullable().default(null).describe('Number of hours after which a run ends.'),
})

export const scenarioSchema = z
  .strictObject({
    format: z.literal('gensyn-scenario').describe('Format of this file.'),
    version: z.literal(1).describe("Version of the file's layout."),
    name: z.string().min(1).max(64).describe('Name of the scenario, for people.'),
    says: z.string().default('').describe('Purpose of the scenario, in a sentence or two.'),
    mode: z
      .enum(['learn', 'replay', 'scale'])
      .default('learn')
      .describe(
        'learn: the model is trained, and time is virtual. replay: a trial follows a recorded curve, for very long runs. ' +
          'scale: stages only take time, for thousands of peers.',
      ),
    run: z
      .record(z.string(), z.unknown())
      .default({})
      .describe('Settings of the run, as in run.json. The trials set seed, steps and recovery.'),
    data: z
      .string()
      .nullable()
      .default(null)
      .describe('A text to train on; null: the bundled text.'),
    peers: count
      .nullable()
      .default(null)
      .describe('Number of peers; null: one for each stage, one for the ends, and run.spares.'),
    network: network.prefault({}),
    compute: compute.prefault({}),
    iterationSeconds: positive
      .nullable()
      .default(null)
      .describe(
        'Assumed time of an undisturbed iteration, which scales all hours. null: its virtual time.',
      ),
    failures: z.array(failureSchema).min(1).describe('Failure processes, each with a name.'),
    strategies: z
      .array(z.union([z.enum(STRATEGY_NAMES), strategySchema]))
      .min(1)
      .describe('Strategies, by name or in full.'),
    seeds: z
      .array(z.int().min(0))
      .min(1)
      .default([1])
      .describe('Seeds of weights, data and failures.'),
    targetLoss: positive
      .nullable()
      .default(null)
      .describe('Held-out loss to reach, in nats a token.'),
    stopAtTarget: z
      .boolean()
      .default(true)
      .describe('true: a run ends when it reaches the target.'),
    budget,
    curve: z
      .string()
      .nullable()
      .default(null)
      .describe(
        'replay, scale: a CSV of iteration and held-out loss of a run without failures, beside this file.',
      ),
    setbacks: z
      .record(z.string(), z.number().min(0))
      .default({})
      .describe(
        'replay: number of iterations that a loss costs each strategy without an exact replay.',
      ),
  })
  .superRefine(
    ({ network, failures, strategies, mode, curve, budget, iterationSeconds }, context) => {
      const refuse = (path: string[], message: string) =>
        context.addIssue({ code: 'custom', path, message })
      for (const { regions } of network.between) {
        for (const region of regions) {
          if (network.regions.includes(region)) continue
          refuse(['network', 'between'], `${region} is none of the regions`)
        }
      }
      const twice = (names: readonly string[]) => names.find((name, i) => names.indexOf(name) !== i)
      const failure = twice(failures.map(({ name }) => name))
      if (failure !== undefined) refuse(['failures'], `two are called ${failure}`)
      const strategy = twice(
        strategies.map((each) => (typeof each === 'string' ? each : each.name)),
      )
      if (strategy !== undefined) refuse(['strategies'], `two are called ${strategy}`)
      if (mode === 'scale' && budget.hours === null) {
        refuse(['budget', 'hours'], 'are needed in the mode scale')
      }
      if (mode === 'replay' && iterationSeconds === null) {
        refuse(['iterationSeconds'], 'are needed in the mode replay')
      }
      if (mode === 'replay' && curve === null) refuse(['curve'], 'is needed to be replayed')
    },
  )

export type Scenario = z.output<typeof scenarioSchema>

/** A scenario, and the folder where its paths begin. */
export interface LoadedScenario {
  readonly scenario: Scenario
  readonly folder: string
}

/**
 * Loads a scenario.
 * @param named the name of a bundled scenario, or the path of a file
 * @param set values that replace settings, by paths such as `run.stages`
 * @throws InputError if the scenario is missing or malformed
 */
export function loadScenario(
  named: string,
  set: Readonly<Record<string, unknown>> = {},
): LoadedScenario {
  const bundled = BUNDLED[named]
  const written = bundled ?? readScenario(named)
  const changed = Object.entries(set).reduce(
    (value, [path, inner]) => withValue(value, path.split('.'), inner),
    written,
  )
  const { success, data, error } = scenarioSchema.safeParse(changed)
  if (!success) throw new InputError(`scenario ${named}: ${z.prettifyError(error)}`)
  return { scenario: data, folder: bundled === undefined ? dirname(resolve(named)) : process.cwd() }
}

/** A copy of the value with another value at a path. */
function withValue(value: unknown, [name, ...rest]: readonly string[], inner: unknown): unknown {
  if (name === undefined) return inner
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
  const members = (isObject ? value : {}) as Record<string, unknown>
  return { ...members, [name]: withValue(members[name], rest, inner) }
}

function readScenario(path: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const known = Object.keys(BUNDLED).join(', ')
    throw new InputError(
      `--scenario ${path}: no such file can be read (${systemCode(error)}), and none of that name is bundled: ${known}.`,
    )
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new InputError(`scenario ${path} is not JSON: ${(error as Error).message}`)
  }
}
