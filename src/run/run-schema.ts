/**
 * The schema of the manifest: every setting of a run with its bounds, default, unit and meaning. The command line's
 * help and docs/RUN.md are generated from it. The file is long because it is one table, which is read from top to bottom.
 */
import { z } from 'zod'
import { WIRE_DTYPES } from '../../protocols/codec.ts'
import { CLIPS } from '../../stages/clip.ts'
import { KEEP_DTYPES, KEEPS } from '../../stages/keep.ts'
import { OPTIMIZER_KINDS } from '../../stages/optimizer.ts'
import { NO_SCALING, ROPE_TYPES } from '../../stages/rope.ts'
import { group, positive, setting, upTo } from '../base/setting.ts'
import { AUTO_POLICY, RECOVERY_NAMES, rowsOf } from '../recovery/index.ts'
import { RECOVERY_SETTINGS } from '../recovery/settings.ts'
import { SCHEDULES, type ScheduleName } from './schedule.ts'

/** Version of the manifest's layout. A manifest of another version is refused. */
export const VERSION = 1

/** What members do that are left without a majority. */
const MAJORITIES = ['goOn', 'wait'] as const

const rate = z.number().min(0).lt(1)

const ropeScaling = group('Stretching of the rotary embedding for long contexts.', {
  type: setting(
    z.enum(ROPE_TYPES),
    NO_SCALING.type,
    '',
    "Hugging Face's rope_scaling: none, linear (every wave is stretched) or llama3 (long waves are stretched).",
  ),
  factor: setting(positive, NO_SCALING.factor, '', 'Factor by which waves are stretched.'),
  lowFrequencyFactor: setting(
    positive,
    NO_SCALING.lowFrequencyFactor,
    'waves',
    'llama3: a wave that fits fewer times into the original context is stretched in full.',
  ),
  highFrequencyFactor: setting(
    positive,
    NO_SCALING.highFrequencyFactor,
    'waves',
    'llama3: a wave that fits more often into the original context is not stretched.',
  ),
  originalContext: setting(
    upTo(1 << 24),
    NO_SCALING.originalContext,
    'tokens',
    'llama3: context length of the original model.',
  ),
})

const model = group('The Llama that is trained.', {
  vocabSize: setting(
    z
      .int()
      .min(256)
      .max(1 << 20),
    256,
    'tokens',
    'Size of the vocabulary, at least the size of the tokenizer (256 for bytes). A larger vocabulary leaves rows unused.',
  ),
  hiddenSize: setting(upTo(1 << 16), 128, 'elements', 'Width of the activations between layers.'),
  intermediateSize: setting(upTo(1 << 18), 344, 'elements', 'Width inside the SwiGLU block.'),
  layers: setting(
    upTo(4096),
    6,
    'layers',
    'Number of transformer layers. Every body stage has an equal share.',
  ),
  heads: setting(upTo(1024), 4, 'heads', 'Number of query heads of the attention.'),
  keyValueHeads: setting(
    upTo(1024),
    4,
    'heads',
    'Number of key and value heads: equal to heads, or a divisor of heads for grouped-query attention.',
  ),
  headSize: setting(
    z
      .int()
      .min(0)
      .max(1 << 12),
    0,
    'elements',
    'Width of one head; 0 divides the hidden size evenly.',
  ),
  ropeTheta: setting(positive, 10_000, '', 'Base of the rotary position embedding.'),
  ropeScaling: ropeScaling.prefault({}),
  rmsNormEps: setting(positive, 1e-5, '', 'Added to the mean square in every RMS norm.'),
  tiedEmbeddings: setting(
    z.boolean(),
    false,
    '',
    'true: the head uses the table of the embedding.',
  ),
})

const microbatch = group('The unit of work that passes through the pipeline.', {
  batch: setting(upTo(1 << 16), 4, 'sequences', 'Number of sequences in a microbatch.'),
  context: setting(upTo(1 << 20), 128, 'tokens', 'Length of a sequence.'),
})

const optimizer = group('The optimizer, which each stage runs on its own weights.', {
  kind: setting(
    z.enum(OPTIMIZER_KINDS),
    'adamw',
    '',
    'adamw; or sgd, which uses beta1 as momentum and has no second moment.',
  ),
  learningRate: setting(positive, 1e-3, '', 'Learning rate after the warm-up.'),
  warmupSteps: setting(
    z.int().min(0),
    20,
    'steps',
    'Number of first steps in which the learning rate rises linearly.',
  ),
  schedule: setting(
    z.enum(Object.keys(SCHEDULES) as ScheduleName[]),
    'constant',
    '',
    'Learning rate after the warm-up: constant; cosine down to decayTo; or stable, then linearly down to decayTo.',
  ),
  decayTo: setting(
    z.number().positive().max(1),
    0.1,
    'fraction',
    'Learning rate at the last step, as a fraction of learningRate.',
  ),
  decayShare: setting(
    z.number().positive().max(1),
    0.2,
    'fraction',
    'Share of the steps after the warm-up in which the schedule stable decays.',
  ),
  beta1: setting(rate, 0.9, '', 'Decay rate of the first moment.'),
  beta2: setting(rate, 0.999, '', 'Decay rate of the second moment.'),
  epsilon: setting(positive, 1e-8, '', 'Number added to the square root of the second moment.'),
  weightDecay: setting(
    z.number().min(0),
    0,
    '',
    'Decoupled weight decay, per unit of learning rate.',
  ),
  clipNorm: setting(
    positive,
    1,
    '',
    'Largest L2 norm of the gradients. Larger gradients are scaled down.',
  ),
  clip: setting(
    z.enum(CLIPS),
    'stage',
    '',
    'The norm that clipNorm bounds: stage, the norm of each stage (as in CheckFree); or whole, the norm of the whole model.',
  ),
})

const data = group(
  'The text. The manifest fixes its content, so that every peer trains on the same text.',
  {
    source: z
      .string()
      .regex(
        /^(package|file|prepared):.+$/,
        'allowed are package:NAME, file:PATH and prepared:FOLDER',
      )
      .meta({
        unit: '',
        description:
          'package:NAME for a bundled corpus, file:PATH for a text, prepared:FOLDER for a dataset. Paths are relative to ' +
          'the manifest.',
      }),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'a SHA-256 has 64 digits 0-9a-f')
      .meta({
        unit: 'hex',
        description: 'SHA-256 of the text, or of the dataset.json of a dataset.',
      }),
    bytes: z.int().min(1).meta({ unit: 'bytes', description: 'Length of the text.' }),
    heldOut: setting(
      z.number().positive().lt(1),
      0.05,
      'fraction',
      'Share of the data that measures the loss and is not trained on: the end of a text, or held-out documents of a dataset.',
    ),
  },
)

const initial = z
  .strictObject({
    path: z.string().min(1),
    tensors: z.record(
      z.string(),
      z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 has 64 digits 0-9a-f'),
    ),
  })
  .nullable()

const evaluation = group('Evaluation of the loss on held-out text.', {
  everySteps: setting(z.int().min(1), 25, 'steps', 'Steps between two evaluations.'),
  microbatches: setting(
    upTo(4096),
    16,
    'microbatches',
    'Number of held-out microbatches in an evaluation.',
  ),
})

const recovery = group('Recovery of a lost stage.', {
  policy: setting(
    z
      .array(z.enum(RECOVERY_NAMES))
      .min(1)
      .refine((policy) => new Set(policy).size === policy.length, 'names a strategy twice'),
    [...AUTO_POLICY],
    '',
    'Recovery strategies in the order in which the coordinator tries them. Every named strategy also does its upkeep.',
  ),
  ...RECOVERY_SETTINGS,
})

export const runSchema = z
  .strictObject({
    format: z.literal('gensyn-run').meta({ unit: '', description: 'Format of this file.' }),
    version: z
      .literal(VERSION)
      .meta({ unit: '', description: "Version of the manifest's layout." }),
    name: setting(
      z.string().min(1).max(64),
      'run',
      '',
      'Name of the run, for people. Manifests that differ only in the name are different runs.',
    ),
    seed: setting(
      z.int().min(0),
      1,
      '',
      'Seed of the initial weights and of the order of the data.',
    ),
    steps: setting(upTo(1e9), 300, 'steps', 'Number of optimizer updates in the run.'),
    stages: setting(
      upTo(1024),
      6,
      'stages',
      'Number of body stages. A run needs one more peer for the ends, which are stage 0.',
    ),
    spares: setting(
      z.int().min(0).max(1024),
      1,
      'peers',
      'Number of peers kept without a stage, to take a lost stage. Further peers become replicas.',
    ),
    microbatches: setting(upTo(4096), 4, 'microbatches', 'Number of microbatches in a step.'),
    wire: setting(
      z.enum(WIRE_DTYPES),
      'float32',
      '',
      'Number format of activations and their gradients on the network: float32, float16, or int8 in blocks of 64.',
    ),
    keep: setting(
      z.enum(KEEPS),
      'none',
      '',
      'Activations that a stage keeps between forward and backward beside its input: none, attention (outputs of the ' +
        'attention) or all. The backward pass recomputes the others.',
    ),
    keepDtype: setting(
      z.enum(KEEP_DTYPES),
      'float32',
      '',
      'Number format of the kept activations. float16 takes half the memory, with a relative rounding error of 2^-11.',
    ),
    majority: setting(
      z.enum(MAJORITIES),
      'goOn',
      '',
      'What members do that are left without a majority: goOn, they go on by themselves after majoritySeconds; or wait, until ' +
        'a majority is back.',
    ),
    majoritySeconds: setting(
      z.int().min(5).max(86_400),
      60,
      'seconds',
      'Time without a majority after which those who are left go on by themselves.',
    ),
    secret: z.string().length(64).nullable().default(null).meta({
      unit: '',
      description:
        "SHA-256 of the run's secret, without which no peer can connect; null for a run whose manifest is enough.",
    }),
    model: model.prefault({}),
    microbatch: microbatch.prefault({}),
    optimizer: optimizer.prefault({}),
    initial: initial.default(null).meta({
      unit: '',
      description:
        'Source of the initial weights: null for the seed, or the folder of a checkpoint relative to the manifest. The ' +
        'SHA-256 of each tensor covers dtype, shape and bytes.',
    }),
    data,
    evaluation: evaluation.prefault({}),
    recovery: recovery.prefault({}),
  })
  .superRefine(({ stages, model, recovery }, context) => {
    const { layers, heads, keyValueHeads, hiddenSize, headSize, ropeScaling } = model
    const refuse = (name: keyof typeof model, message: string) =>
      context.addIssue({ code: 'custom', path: ['model', name], message })
    for (const { name, refusal } of rowsOf(recovery.policy)) {
      const reason = refusal?.(recovery, stages) ?? null
      if (reason === null) continue
      const path = ['recovery', 'policy']
      context.addIssue({ code: 'custom', path, message: `${name}: ${reason}` })
    }
    if (layers % stages !== 0) {
      const near = Math.max(1, Math.round(layers / stages)) * stages
      refuse('layers', `${layers} do not divide evenly among ${stages} stages; ${near} would`)
    }
    if (headSize > 0 && headSize % 2 !== 0) {
      refuse('headSize', `${headSize} is odd; rotary embedding needs an even number`)
    }
    if (ropeScaling.lowFrequencyFactor >= ropeScaling.highFrequencyFactor) {
      refuse('ropeScaling', 'lowFrequencyFactor must be below highFrequencyFactor')
    }
    if (headSize === 0 && (hiddenSize % heads !== 0 || (hiddenSize / heads) % 2 !== 0)) {
      refuse(
        'heads',
        `${heads} heads split a hidden size of ${hiddenSize} into ${hiddenSize / heads} each; ` +
          'rotary embedding needs an even whole number',
      )
    }
    if (heads % keyValueHeads !== 0) {
      refuse('keyValueHeads', `${keyValueHeads} do not divide ${heads} query heads`)
    }
  })

export type Run = z.output<typeof runSchema>

/** Settings of recovery before defaults are filled in. */
export type WrittenRecovery = NonNullable<z.input<typeof runSchema>['recovery']>

/** Fills in the defaults of the recovery settings. @throws ZodError if a setting is invalid */
export function wholeRecovery(written: WrittenRecovery): Run['recovery'] {
  return recovery.parse(written)
}

/** Schema that validates recovery settings without filling in defaults. */
export const writtenRecovery: z.ZodType<WrittenRecovery, WrittenRecovery> =
  z.custom<WrittenRecovery>((value) => recovery.safeParse(value).success, {
    error: ({ input }) => z.prettifyError(recovery.safeParse(input).error!),
  })

/** One setting, for the help texts and the reference. */
export interface SettingInfo {
  /** Path in the manifest, such as `model.layers`. */
  readonly path: string
  readonly type: 'integer' | 'number' | 'string' | 'array' | 'boolean'
  readonly unit: string
  readonly description: string
  /** Default value; undefined for a setting that has none. */
  readonly default: unknown
}

/** A setting, or a group of settings, in zod's JSON schema. */
interface Described extends Omit<SettingInfo, 'path' | 'type'> {
  readonly type: SettingInfo['type'] | 'object'
  readonly properties?: Readonly<Record<string, Described>>
}

function leaves({ properties = {} }: Described, prefix = ''): SettingInfo[] {
  return Object.entries(properties).flatMap(([name, described]) => {
    const { type, description, unit, default: byDefault } = described
    const path = `${prefix}${name}`
    if (type === 'object') return leaves(described, `${path}.`)
    return [{ path, type, unit, description, default: byDefault }]
  })
}

/** All settings, in the order of the manifest. */
export const SETTINGS: readonly SettingInfo[] = leaves(
  z.toJSONSchema(runSchema, { io: 'input' }) as unknown as Described,
)
