/** The settings of the recovery strategies, a part of the manifest. */
import { z } from 'zod'
import { DTYPES } from '../../protocols/codec.ts'
import { group, positive, setting, upTo } from '../base/setting.ts'

/** `lazy`: training continues while a checkpoint is written. `sync`: training waits until it is written. */
const CHECKPOINT_MODES = ['lazy', 'sync'] as const

const checkpoint = group('Checkpoints of a run whose policy names checkpoint.', {
  everySteps: setting(z.int().min(1), 25, 'steps', 'Steps between two checkpoints.'),
  mode: setting(
    z.enum(CHECKPOINT_MODES),
    'lazy',
    '',
    'lazy: a checkpoint is copied and written while training continues; sync: training waits until the checkpoint is written.',
  ),
})

/** Most members that keep copies of one stage. */
const KEEPERS_MAX = 16

const shadow = group(
  'The copy of each stage that another member keeps, if the policy has shadow.',
  {
    everySteps: setting(z.int().min(1), 20, 'steps', 'Steps between two copies of a body stage.'),
    endsEverySteps: setting(
      z.int().min(1),
      2,
      'steps',
      'Steps between two copies of the ends. An old copy of the ends raises the loss more than an old copy of a body stage.',
    ),
    keepers: setting(
      upTo(KEEPERS_MAX),
      2,
      'members',
      'Members that keep a copy of a body stage. Each copy goes to the member whose copy is the oldest.',
    ),
    endsKeepers: setting(
      upTo(KEEPERS_MAX),
      3,
      'members',
      'Members that keep a copy of the ends, which no average can rebuild.',
    ),
    weights: setting(
      z.enum(DTYPES),
      'int8',
      '',
      'Number format of the kept weights: float32, float16, bfloat16, or int8 in blocks of 64.',
    ),
    moments: setting(
      z.enum(['none', ...DTYPES]),
      'bfloat16',
      '',
      'Number format of the kept optimizer moments. With none, the optimizer starts with zero moments.',
    ),
  },
)

const snapshot = group('The erasure-coded copy of each stage, if the policy has snapshot.', {
  everySteps: setting(z.int().min(1), 20, 'steps', 'Steps between two copies of a body stage.'),
  endsEverySteps: setting(
    z.int().min(1),
    2,
    'steps',
    'Steps between two copies of the ends. An old copy of the ends raises the loss the most.',
  ),
  data: setting(upTo(128), 2, 'shards', 'Number of shards that restore the copy.'),
  parity: setting(
    upTo(127),
    1,
    'shards',
    'Number of additional shards. Every shard is kept by another member.',
  ),
})

const kept = group("The state of each stage on its holder's own disk.", {
  everySteps: setting(
    z.int().min(0),
    25,
    'steps',
    'Steps between two states that every holder writes to its disk, with the copies that it keeps for others; 0 writes nothing.',
  ),
})

/** Schemas of all settings of recovery but the policy. */
export const RECOVERY_SETTINGS = {
  normExponent: setting(
    z.number().min(0).max(4),
    1,
    '',
    'Exponent of the gradient norm by which checkfree weighs each neighbour; 0 gives the plain mean.',
  ),
  learningRateScale: setting(
    positive.max(10),
    1.1,
    '',
    'Factor on the learning rate of a recovered stage.',
  ),
  learningRateScaleSteps: setting(
    z.int().min(0),
    0,
    'steps',
    'Number of updates in which learningRateScale returns linearly to 1; 0 keeps the factor for good.',
  ),
  moments: setting(
    z.enum(['fresh', 'averaged']),
    'fresh',
    '',
    'Optimizer moments of a stage that checkfree rebuilds: fresh (zero), or averaged from its neighbours.',
  ),
  redraw: z.boolean().optional().meta({
    unit: '',
    description:
      'true: random draws new weights, as the paper does. By default random restores the initial weights of the stage.',
  }),
  shadow: shadow.prefault({}),
  snapshot: snapshot.prefault({}),
  checkpoint: checkpoint.prefault({}),
  kept: kept.prefault({}),
}

const settings = z.strictObject(RECOVERY_SETTINGS)

/** Settings of the strategies, with their defaults filled in. */
export type RecoverySettings = z.output<typeof settings>
