/**
 * The schema of the manifest: every setting of a run with its bounds, default, unit and meaning. The command line's
 * help and docs/RUN.md are generated from it.
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

const rate = z.number().min(0).lt(1)

const ropeScaling = group('How rotary embedding is stretched for long contexts.', {
  type: setting(
    z.enum(ROPE_TYPES),
    NO_SCALING.type,
    '',
    "none; linear, every wave; llama3, the long ones: Hugging Face's rope_scaling.",
  ),
  factor: setting(positive, NO_SCALING.factor, '', 'By which waves are stretched.'),
  lowFrequencyFactor: setting(
    positive,
    NO_SCALING.lowFrequencyFactor,
    'waves',
    'llama3: what fits fewer times into the original context is stretched in full.',
  ),
  highFrequencyFactor: setting(
    positive,
    NO_SCALING.highFrequencyFactor,
    'waves',
    'llama3: what fits more often into the original context is left alone.',
  ),
  originalContext: setting(
    upTo(1 << 24),
    NO_SCALING.originalContext,
    'tokens',
    'llama3: the context that the frequencies were meant for.',
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
    'Size of the vocabulary: at least that of the tokenizer, which is 256 for bytes. More leaves rows unused.',
  ),
  hiddenSize: setting(upTo(1 << 16), 128, 'elements', 'Width of the activations between layers.'),
  intermediateSize: setting(upTo(1 << 18), 344, 'elements', 'Width inside the SwiGLU block.'),
  layers: setting(upTo(4096), 6, 'layers', 'Transformer layers in all, the same number a stage.'),
  heads: setting(upTo(1024), 4, 'heads', 'Query heads of the attention.'),
  keyValueHeads: setting(
    upTo(1024),
    4,
    'heads',
    'Key and value heads: equal to heads, or a divisor for grouped-query attention.',
  ),
  headSize: setting(
    z
      .int()
      .min(0)
      .max(1 << 12),
    0,
    'elements',
    'Width of one head; 0 splits the hidden size evenly.',
  ),
  ropeTheta: setting(positive, 10_000, '', 'Base of the rotary position embedding.'),
  ropeScaling: ropeScaling.prefault({}),
  rmsNormEps: setting(positive, 1e-5, '', 'Added to the mean square in every RMS norm.'),
  tiedEmbeddings: setting(
    z.boolean(),
    false,
    '',
    "The head reads the embedding's table instead of one of its own.",
  ),
})

const microbatch = group('The unit that travels through the pipeline.', {
  batch: setting(upTo(1 << 16), 4, 'sequences', 'Sequences in a microbatch.'),
  context: setting(upTo(1 << 20), 128, 'tokens', 'Length of a sequence.'),
})

const optimizer = group('How weights are updated, by each stage its own.', {
  kind: setting(
    z.enum(OPTIMIZER_KINDS),
    'adamw',
    '',
    'adamw; or sgd, with beta1 as its momentum and no second moment.',
  ),
  learningRate: setting(positive, 1e-3, '', 'Learning rate after the warm-up.'),
  warmupSteps: setting(
    z.int().min(0),
    20,
    'steps',
    'The learning rate rises linearly for so long.',
  ),
  schedule: setting(
    z.enum(Object.keys(SCHEDULES) as ScheduleName[]),
    'constant',
    '',
    'After the warm-up: constant; cosine down to decayTo; or stable, then linearly down to decayTo.',
  ),
  decayTo: setting(
    z.number().positive().max(1),
    0.1,
    'fraction',
    'Share of the learning rate that is left at the last step.',
  ),
  decayShare: setting(
    z.number().positive().max(1),
    0.2,
    'fraction',
    'Share of all steps after the warm-up in which stable decays.',
  ),
  beta1: setting(rate, 0.9, '', 'Decay of the first moment.'),
  beta2: setting(rate, 0.999, '', 'Decay of the second moment.'),
  epsilon: setting(positive, 1e-8, '', 'Added to the root of the second moment.'),
  weightDecay: setting(z.number().min(0), 0, '', 'Decoupled decay, per unit of learning rate.'),
  clipNorm: setting(positive, 1, '', 'Gradients are scaled down to this L2 norm.'),
  clip: setting(
    z.enum(CLIPS),
    'stage',
    '',
    "Whose norm clipNorm bounds: each stage's own (as CheckFree has it), or that of the whole model.",
  ),
})

const data = group(
  'The text. The manifest fixes its content, so that every peer trains on the same.',
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
          'package:NAME, a bundled corpus; file:PATH, a text, or prepared:FOLDER, a dataset, both relative to the ' +
          'manifest.',
      }),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/, 'a SHA-256 has 64 digits 0-9a-f')
      .meta({
        unit: 'hex',
        description: 'Digest of the text; of a dataset, that of its dataset.json.',
      }),
    bytes: z.int().min(1).meta({ unit: 'bytes', description: 'Length of the text.' }),
    heldOut: setting(
      z.number().positive().lt(1),
      0.05,
      'fraction',
      'Share that is never trained on but measures the loss: the end of a text, or documents of a dataset, as prepared.',
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

const evaluation = group('The loss on held-out text.', {
  everySteps: setting(z.int().min(1), 25, 'steps', 'Between two evaluations.'),
  microbatches: setting(upTo(4096), 16, 'microbatches', 'Held-out text of an evaluation.'),
})

const recovery = group('What happens when a stage is lost.', {
  policy: setting(
    z
      .array(z.enum(RECOVERY_NAMES))
      .min(1)
      .refine((policy) => new Set(policy).size === policy.length, 'names a strategy twice'),
    [...AUTO_POLICY],
    '',
    'Strategies in the order in which they are tried. Each brings its upkeep with it.',
  ),
  ...RECOVERY_SETTINGS,
})

export const runSchema = z
  .strictObject({
    format: z.literal('gensyn-run').meta({ unit: '', description: 'What this file is.' }),
    version: z
      .literal(VERSION)
      .meta({ unit: '', description: "Version of the manifest's layout." }),
    name: setting(
      z.string().min(1).max(64),
      'run',
      '',
      'For people. Two runs that differ in nothing else are two runs.',
    ),
    seed: setting(z.int().min(0), 1, '', 'Decides initial weights and the order of the data.'),
    steps: setting(upTo(1e9), 300, 'steps', 'Optimizer updates until the run is done.'),
    stages: setting(
      upTo(1024),
      6,
      'stages',
      'Body stages. With the ends, stage 0, a run needs one peer more.',
    ),
    spares: setting(
      z.int().min(0).max(1024),
      1,
      'peers',
      'Peers that are kept without a stage, to take one that is lost; all beyond them become replicas.',
    ),
    microbatches: setting(upTo(4096), 4, 'microbatches', 'Microbatches of a step.'),
    wire: setting(
      z.enum(WIRE_DTYPES),
      'float32',
      '',
      'How activations and their gradients travel: float32, float16, or int8 in blocks of 64.',
    ),
    keep: setting(
      z.enum(KEEPS),
      'none',
      '',
      'What stages keep of a microbatch until its gradient comes, beside the input: none computes all again, attention ' +
        'keeps its output, all keeps everything.',
    ),
    keepDtype: setting(
      z.enum(KEEP_DTYPES),
      'float32',
      '',
      'How that is stored: float16 takes half the memory and rounds each value to 2^-11 of itself.',
    ),
    model: model.prefault({}),
    microbatch: microbatch.prefault({}),
    optimizer: optimizer.prefault({}),
    initial: initial.default(null).meta({
      unit: '',
      description:
        'What the weights start from: null, the seed; or the folder of a checkpoint, relative to the manifest, with the ' +
        'SHA-256 of each tensor (over dtype, shape and bytes).',
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
