/**
 * The rows of the table. A row is played by the node itself under the manifest's recovery settings; or it is a replay of
 * the run that nothing disturbs, which `confirm.ts` holds against a real one.
 */
import type { Run } from '../../src/run.ts'

/** Per body stage and iteration. */
export const RATE = 0.005

/** At which the strategies that matter most are compared, too. */
export const LOW_RATES = [0.001, 0.002]

export interface Case {
  readonly name: string
  /** For people: what it does, in a line. */
  readonly says: string
  /** As in the manifest. */
  readonly recovery: Partial<Run['recovery']>
  readonly edgesExempt?: true
  readonly rates: readonly number[]
  /** Needs no store that outlives the peers, and no peer beyond those that hold a stage and the spares. */
  readonly storeless: boolean
  /**
   * Left out, every failure is played. `exact`: a failure loses nothing, so that losses are those of the undisturbed run.
   * A number: it takes all back to the last multiple of so many steps, from where the same steps are made again.
   */
  readonly replay?: 'exact' | number
}

const FALLBACKS = ['copy', 'random']

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
]

/** Against which all others are held. */
export const UNDISTURBED: Case = CASES[0]!
