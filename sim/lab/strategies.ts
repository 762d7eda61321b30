/** Strategies that a scenario can name. A scenario can also write any other recovery settings of a manifest in full. */
import { z } from 'zod'
import { type WrittenRecovery, writtenRecovery } from '../../src/run/run-schema.ts'

/**
 * What needs no run of its own, since its steps are those of the undisturbed run. `calm`: nothing fails. `exact`: a failure
 * loses nothing. A number: it takes all stages back to the last multiple of so many steps.
 */
const replay = z.union([z.literal('calm'), z.literal('exact'), z.int().min(1)])

/** Times that are stated, where nobody measures them: those of a published system. */
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

const FALLBACKS = ['copy', 'random']

function row(
  name: string,
  says: string,
  recovery: WrittenRecovery,
  more: Partial<LabStrategy> = {},
): LabStrategy {
  return { name, says, recovery, replay: null, along: null, stated: null, ...more }
}

const ROWS: readonly LabStrategy[] = [
  row('none', 'nothing fails', { policy: ['random'] }, { replay: 'calm' }),
  row('checkfree', 'average of both neighbours by gradient norm; an edge from its one neighbour', {
    policy: ['checkfree', ...FALLBACKS],
  }),
  row('checkfree+', 'half of the microbatches in the swapped order, edges from their twins', {
    policy: ['checkfree+', ...FALLBACKS],
  }),
  row('shadow', 'own weights in int8 and moments in bfloat16, kept by another member', {
    policy: ['shadow', 'checkfree', ...FALLBACKS],
  }),
  row('snapshot', 'own weights and moments, erasure-coded over three members', {
    policy: ['snapshot', 'checkfree', ...FALLBACKS],
  }),
  row('uniform', 'plain average of both neighbours', { policy: ['uniform', ...FALLBACKS] }),
  row('copy', 'copy of one neighbour', { policy: FALLBACKS }),
  row('random', 'initial weights', { policy: ['random'] }),
  row('redundant', 'the holder before a stage also applies its updates', {
    policy: ['redundant', ...FALLBACKS],
  }),
  ...[1, 5, 10, 50, 100].map((every) =>
    row(
      `checkpoint-${every}`,
      `all stages go back to the last checkpoint, at most ${every} steps old`,
      {
        policy: ['checkpoint', ...FALLBACKS],
        checkpoint: { everySteps: every, mode: 'lazy' },
      },
      { replay: every },
    ),
  ),
]

export const STRATEGY_NAMES: readonly string[] = ROWS.map(({ name }) => name)

/** @param named as in a scenario: its name, or spelled out */
export function strategyOf(named: string | LabStrategy): LabStrategy {
  return typeof named === 'string' ? ROWS.find(({ name }) => name === named)! : named
}
