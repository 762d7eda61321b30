/** The settings of the recovery strategies, a part of the manifest. */
import { z } from 'zod'
import { DTYPES } from '../../protocols/codec.ts'
import { group, positive, setting, upTo } from '../base/setting.ts'

/** `lazy`: training continues while a checkpoint is written. `sync`: training waits until it is written. */
const CHECKPOINT_MODES = ['lazy', 'sync'] as const

const checkpoint = group('Checkpoints of a run whose policy names checkpoint.', {
  everySteps: setting(z.int().min(1), 25, 'steps', 'Between two checkpoints.'),
  mode: setting(
    z.enum(CHECKPOINT_MODES),
    'lazy',
    '',
    'lazy: a step is copied and written while the next ones are made; sync: training waits until it is written.',
  ),
})

const shadow = group(
  'The copy of each stage that another member keeps, where the policy has shadow.',
  {
    everySteps: setting(z.int().min(1), 20, 'steps', 'Between two copies of a body stage.'),
    endsEverySteps: setting(
      z.int().min(1),
      2,
      'steps',
      'Between two copies of the ends, which all others lean on: an old copy of them costs the most.',
    ),
    weights: setting(
      z.enum(DTYPES),
      'int8',
      '',
      'How weights are kept: float32, float16, bfloat16, or int8 in blocks of 64.',
    ),
    moments: setting(
      z.enum(['none', ...DTYPES]),
      'bfloat16',
      '',
      "How the optimizer's moments are kept; none lets it start afresh.",
    ),
  },
)

const snapshot = group('The erasure-coded copy of each stage, where the policy has snapshot.', {
  everySteps: setting(z.int().min(1), 20, 'steps', 'Between two copies of a body stage.'),
  endsEverySteps: setting(
    z.int().min(1),
    2,
    'steps',
    'Between two copies of the ends, which all others lean on.',
  ),
  data: setting(upTo(128), 2, 'shards', 'So many shards give the copy back.'),
  parity: setting(upTo(127), 1, 'shards', 'So many shards more are kept, each by another member.'),
})

/** Schemas of all settings of recovery but the policy. */
export const RECOVERY_SETTINGS = {
  normExponent: setting(
    z.number().min(0).max(4),
    1,
    '',
    'checkfree weighs each neighbour by its gradient norm to this power; 0 is the plain mean.',
  ),
  learningRateScale: setting(
    positive.max(10),
    1.1,
    '',
    "Multiplies a recovered stage's learning rate from then on.",
  ),
  learningRateScaleSteps: setting(
    z.int().min(0),
    0,
    'steps',
    'For so many updates learningRateScale falls back to 1 in a straight line; 0 leaves it.',
  ),
  moments: setting(
    z.enum(['fresh', 'averaged']),
    'fresh',
    '',
    "The optimizer's state of a stage that checkfree rebuilds: fresh, or averaged from its neighbours'.",
  ),
  redraw: z.boolean().optional().meta({
    unit: '',
    description:
      'random draws the weights anew, as the paper does; left out, a stage has those again that it began with.',
  }),
  shadow: shadow.prefault({}),
  snapshot: snapshot.prefault({}),
  checkpoint: checkpoint.prefault({}),
}

const settings = z.strictObject(RECOVERY_SETTINGS)

/** Settings of the strategies, with their defaults filled in. */
export type RecoverySettings = z.output<typeof settings>
