/**
 * The one table of strategies: those of scenarios, and those of the table of docs/STRATEGIES.md. A scenario can also
 * define any strategy that the recovery settings of a manifest can express.
 */
import { z } from 'zod'
import { type WrittenRecovery, writtenRecovery } from '../../src/run/run-schema.ts'

/**
 * A strategy that is replayed along the undisturbed run. `calm`: nothing fails. `exact`: a failure loses nothing. A
 * number: a failure takes all stages back to the last multiple of so many steps.
 */
const replay = z.union([z.literal('calm'), z.literal('exact'), z.int().min(1)])

/** Times that a published system states and that are not measured here. */
const stated = z.strictObject({
  iterationFactor: z
    .number()
    .min(1)
    .describe('Time of an iteration, divided by the time of an undisturbed iteration.'),
  recoverySeconds: z.number().min(0).describe('Time of a recovery.'),
})

export const strategySchema = z.strictObject({
  name: z.string().min(1).max(64),
  says: z.string().default('').describe('What the strategy does, in a line.'),
  recovery: writtenRecovery
    .default({})
    .describe('As in run.json: the policy, and the settings of its strategies.'),
  replay: replay
    .nullable()
    .default(null)
    .describe(
      'null: the strategy is played. calm, exact or the number of steps between two checkpoints: computed from the undisturbed run.',
    ),
  along: z
    .string()
    .nullable()
    .default(null)
    .describe(
      'For a replay: an earlier strategy whose curve under the same failures is followed instead of the undisturbed run.',
    ),
  stated: stated
    .nullable()
    .default(null)
    .describe('Times of a replay that are stated instead of measured in a short run.'),
})

export type LabStrategy = z.output<typeof strategySchema>

/** Settings with which the table of docs/STRATEGIES.md plays a strategy. */
interface TableSettings {
  /** Probabilities that a body stage is lost in an iteration. */
  readonly rates: readonly number[]
  /** Addition to the description about the table's settings. */
  readonly says?: string
  /** Recovery settings of the table, where they differ from the settings of the row. */
  readonly recovery?: WrittenRecovery
  /** True if the first and the last body stage are never lost. */
  readonly edgesExempt?: true
  /** True if every stage has two holders, which needs twice as many peers. */
  readonly replicas?: true
  /** True for a row that is played only if it is named. */
  readonly extra?: true
  /** False if the strategy needs a store that outlives the peers, or more peers than holders and spares. */
  readonly storeless: boolean
  /** As in {@link LabStrategy}: the replay that the table computes instead of playing the strategy. */
  readonly replay?: 'exact' | number
  /**
   * For an exact replay: how many stages earlier a lost stage's second holder is. 0 means another holder of the same
   * stage.
   */
  readonly standby?: 0 | 1
}

interface Row extends LabStrategy {
  /** False for rows of the table alone, which no scenario can name. */
  readonly named: boolean
  /** Null for rows that the table does not have. */
  readonly table: TableSettings | null
}

/** The probability of loss at which the table compares all strategies. */
export const RATE = 0.005

/** The probabilities of loss at which the table compares the most important strategies. */
export const ALL_RATES: readonly number[] = [0.001, 0.002, RATE]

const FALLBACKS = ['copy', 'random']

function row(
  name: string,
  says: string,
  recovery: WrittenRecovery,
  table: TableSettings | null,
  more: Partial<Row> = {},
): Row {
  const plain = { replay: null, along: null, stated: null, named: true }
  return { name, says, recovery, ...plain, table, ...more }
}

/** Settings that exempt the edges, as in the paper, since plain CheckFree cannot recover an edge. */
const INNER: TableSettings = {
  rates: [RATE],
  says: 'edges never fail',
  edgesExempt: true,
  storeless: true,
}

/** All strategies that the laboratory and its table know. */
const ROWS: readonly Row[] = [
  row(
    'none',
    'nothing fails',
    { policy: ['random'] },
    { rates: [0], storeless: true },
    { replay: 'calm' },
  ),
  row(
    'checkfree',
    'average of both neighbours by gradient norm; an edge from its one neighbour',
    { policy: ['checkfree', ...FALLBACKS] },
    INNER,
  ),
  row('uniform', 'plain average of both neighbours', { policy: ['uniform', ...FALLBACKS] }, INNER),
  row('copy', 'copy of one neighbour', { policy: FALLBACKS }, INNER),
  row('random', 'initial weights', { policy: ['random'] }, INNER),
  row(
    'none (swapped)',
    'nothing fails, half of the microbatches in the swapped order',
    { policy: ['checkfree+'] },
    { rates: [0], storeless: true },
    { named: false },
  ),
  row(
    'checkfree+',
    'half of the microbatches in the swapped order, edges from their twins',
    { policy: ['checkfree+', ...FALLBACKS] },
    { rates: ALL_RATES, storeless: true },
  ),
  row(
    'shadow',
    'own weights in int8 and moments in bfloat16, kept by another member',
    { policy: ['shadow', 'checkfree', ...FALLBACKS] },
    { rates: ALL_RATES, says: 'at most 20 steps old', storeless: true },
  ),
  row(
    'shadow (no moments)',
    'own weights in int8, at most 20 steps old, fresh optimizer',
    { policy: ['shadow', 'checkfree', ...FALLBACKS], shadow: { moments: 'none' } },
    { rates: [RATE], storeless: true, extra: true },
    { named: false },
  ),
  row(
    'snapshot',
    'own weights and moments, erasure-coded over three members',
    { policy: ['snapshot', 'checkfree', ...FALLBACKS] },
    {
      rates: [RATE],
      says: 'at most 20 steps old',
      recovery: {
        policy: ['snapshot', 'checkfree', ...FALLBACKS],
        snapshot: { everySteps: 20, endsEverySteps: 20, data: 2, parity: 1 },
      },
      storeless: true,
    },
  ),
  row(
    'redundant',
    'the holder before a stage also applies its updates',
    { policy: ['redundant', ...FALLBACKS] },
    { rates: [RATE], storeless: true, replay: 'exact', standby: 1 },
  ),
  ...[1, 5, 10, 50, 100].map((every) =>
    row(
      `checkpoint-${every}`,
      `all stages go back to the last checkpoint, at most ${every} steps old`,
      {
        policy: ['checkpoint', ...FALLBACKS],
        checkpoint: { everySteps: every, mode: 'lazy' },
      },
      every === 10 || every === 50 ? { rates: ALL_RATES, storeless: false, replay: every } : null,
      { replay: every },
    ),
  ),
  row(
    'replica',
    'two holders of every stage, one of which fails: the other one has the same bits',
    { policy: FALLBACKS },
    { replicas: true, rates: [RATE], storeless: false, replay: 'exact', standby: 0 },
    { named: false },
  ),
  row(
    'checkfree (copied edges)',
    'average of both neighbours; the first and last stage from their one neighbour',
    { policy: ['checkfree', ...FALLBACKS] },
    { rates: [RATE], storeless: true, extra: true },
    { named: false },
  ),
]

/** Names that a scenario can use. */
export const STRATEGY_NAMES: readonly string[] = ROWS.flatMap(({ name, named }) =>
  named ? name : [],
)

/** @param given as in a scenario: the name of a strategy, or its definition */
export function strategyOf(given: string | LabStrategy): LabStrategy {
  if (typeof given !== 'string') return given
  const { name, says, recovery, replay, along, stated } = ROWS.find((each) => each.name === given)!
  return { name, says, recovery, replay, along, stated }
}

/** A row of the table of docs/STRATEGIES.md. */
export interface Case extends TableSettings {
  readonly name: string
  /** Description of the strategy in one line. */
  readonly says: string
  readonly recovery: WrittenRecovery
}

/** The rows of the table, in its order. */
export const CASES: readonly Case[] = ROWS.flatMap(({ name, says, recovery, table }) => {
  if (table === null) return []
  const whole = table.says === undefined ? says : `${says}; ${table.says}`
  return [{ recovery, ...table, name, says: whole }]
})

/** The undisturbed run, with which all other rows are compared. */
export const UNDISTURBED: Case = CASES[0]!
