/**
 * The rows of the table. A row is played by the node itself under the manifest's recovery settings; or it is a replay of
 * the run that nothing disturbs, which `test/sim/strategies.test.ts` holds against a real one.
 */
import type { WrittenRecovery } from '../../src/run/run-schema.ts'

/** Per body stage and iteration. */
export const RATE = 0.005

/** At all of which the strategies that matter most are compared. */
export const ALL_RATES: readonly number[] = [0.001, 0.002, RATE]

export interface Case {
  readonly name: string
  /** For people: what it does, in a line. */
  readonly says: string
  /** As in the manifest. */
  readonly recovery: WrittenRecovery
  /** Every stage has two holders: peers beyond the spares. */
  readonly replicas?: true
  /** Beside the point: played only where it is named. */
  readonly extra?: true
  /** Raise it when the strategy has changed: what was played before is then played again. */
  readonly revision?: number
  readonly edgesExempt?: true
  readonly rates: readonly number[]
  /** Needs no store that outlives the peers, and no peer beyond those that hold a stage and the spares. */
  readonly storeless: boolean
  /**
   * Left out, all failures are played. `exact`: a failure loses nothing, so that losses are those of the undisturbed run.
   * A number: it takes all back to the last multiple of so many steps, from where the same steps are made again.
   */
  readonly replay?: 'exact' | number
  /** Of an exact replay: the state of a lost stage is held so many stages before it, too; 0: by another of its holders. */
  readonly standby?: 0 | 1
}

const FALLBACKS = ['copy', 'random']
const SHADOW_POLICY = ['shadow', 'checkfree', ...FALLBACKS]

/** Said even where they are the defaults: what was played under other defaults is another trial. */
const AS_PUBLISHED = { normExponent: 1, learningRateScale: 1.1 }

export const CASES: readonly Case[] = [
  {
    name: 'none',
    says: 'nothing fails',
    recovery: { policy: ['random'] },
    rates: [0],
    storeless: true,
  },
  {
    name: 'checkfree',
    says: 'average of both neighbours by gradient norm; edges never fail',
    recovery: { ...AS_PUBLISHED, policy: ['checkfree', ...FALLBACKS] },
    edgesExempt: true,
    rates: [RATE],
    storeless: true,
  },
  {
    name: 'uniform',
    says: 'plain average of both neighbours; edges never fail',
    recovery: { ...AS_PUBLISHED, policy: ['checkfree', ...FALLBACKS], normExponent: 0 },
    edgesExempt: true,
    rates: [RATE],
    storeless: true,
  },
  {
    name: 'copy',
    says: 'copy of one neighbour; edges never fail',
    recovery: { ...AS_PUBLISHED, policy: FALLBACKS },
    edgesExempt: true,
    rates: [RATE],
    storeless: true,
  },
  {
    name: 'random',
    says: 'initial weights; edges never fail',
    recovery: { ...AS_PUBLISHED, policy: ['random'] },
    edgesExempt: true,
    rates: [RATE],
    storeless: true,
  },
  {
    name: 'none (swapped)',
    says: 'nothing fails, half of the microbatches in the swapped order',
    recovery: { policy: ['checkfree+'] },
    rates: [0],
    storeless: true,
  },
  {
    name: 'checkfree+',
    says: 'swapped order, edges from their twins, the ends kept by their neighbours',
    recovery: { ...AS_PUBLISHED, policy: ['checkfree+', ...FALLBACKS] },
    rates: ALL_RATES,
    storeless: true,
  },
  {
    name: 'shadow',
    says: 'own weights in int8 and moments in bfloat16, at most 20 steps old',
    recovery: {
      ...AS_PUBLISHED,
      policy: SHADOW_POLICY,
      shadow: { everySteps: 20, weights: 'int8', moments: 'bfloat16' },
    },
    rates: ALL_RATES,
    storeless: true,
  },
  {
    name: 'shadow (no moments)',
    says: 'own weights in int8, at most 20 steps old, fresh optimizer',
    recovery: {
      ...AS_PUBLISHED,
      policy: SHADOW_POLICY,
      shadow: { everySteps: 20, weights: 'int8', moments: 'none' },
    },
    rates: [RATE],
    storeless: true,
    extra: true,
  },
  {
    name: 'snapshot',
    says: 'own weights and moments in float32, 2 + 1 shards, at most 20 steps old',
    recovery: {
      ...AS_PUBLISHED,
      policy: ['snapshot', 'checkfree', ...FALLBACKS],
      snapshot: { everySteps: 20, endsEverySteps: 20, data: 2, parity: 1 },
    },
    rates: [RATE],
    storeless: true,
  },
  {
    name: 'redundant',
    says: 'the holder before a stage applies all of its updates too, and has its exact state',
    recovery: { ...AS_PUBLISHED, policy: ['redundant', ...FALLBACKS] },
    rates: [RATE],
    storeless: true,
    replay: 'exact',
    standby: 1,
  },
  ...[10, 50].map(
    (every): Case => ({
      name: `checkpoint (every ${every})`,
      says: 'all stages go back to the last checkpoint in a store',
      recovery: {
        ...AS_PUBLISHED,
        policy: ['checkpoint', ...FALLBACKS],
        checkpoint: { everySteps: every, mode: 'lazy' },
      },
      rates: ALL_RATES,
      storeless: false,
      replay: every,
    }),
  ),
  {
    name: 'replica',
    says: 'two holders of every stage, one of which fails: the other one has the same bits',
    recovery: { ...AS_PUBLISHED, policy: FALLBACKS },
    replicas: true,
    rates: [RATE],
    storeless: false,
    replay: 'exact',
    standby: 0,
  },
  {
    name: 'checkfree (copied edges)',
    says: 'average of both neighbours; the first and last stage from their one neighbour',
    recovery: { ...AS_PUBLISHED, policy: ['checkfree', ...FALLBACKS] },
    rates: [RATE],
    storeless: true,
    extra: true,
  },
]

/** Against which all others are held. */
export const UNDISTURBED: Case = CASES[0]!
