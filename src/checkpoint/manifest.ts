/**
 * The manifest of a checkpoint: the run, the step, and for each tensor the files and bytes that hold its boxes, in
 * coordinates of the tensor. Nothing depends on how many stages or replicas wrote the step or will read it.
 */
import { z } from 'zod'
import type { Origin } from '../../protocols/membership.ts'
import { count } from '../../protocols/schemas.ts'
import { sha256 } from '../../protocols/weights.ts'
import { coverFault } from '../../stages/boxes.ts'
import { sizeOf } from '../../stages/shape.ts'
import { runId } from '../run/run.ts'
import { type Run, runSchema } from '../run/run-schema.ts'
import { CheckpointError } from './error.ts'

const FORMAT = 'gensyn-checkpoint'

/** Version of the format. Other versions are refused. */
const VERSION = 1

/** Name of the manifest in the folder of its step. */
export const MANIFEST = 'manifest.json'

/** Folder of a step's manifest and data. */
export function stepFolder(step: number): string {
  return `step-${String(step).padStart(12, '0')}`
}

const digest = z.string().regex(/^[0-9a-f]{64}$/)

const storedBox = z.strictObject({
  offset: z.array(count).min(1),
  size: z.array(count.min(1)).min(1),
  /** Name of a file in the manifest's folder. */
  file: z.string().regex(/^[0-9a-z-]+\.bin$/),
  /** Where the box begins in the file, in bytes. Its elements are float32, little-endian, row-major. */
  begin: count,
  /** Where it ends, exclusive. */
  end: count,
  /** SHA-256 of these bytes. */
  sha256: digest,
})

export type StoredBox = z.output<typeof storedBox>

/** Numbers that belong to a saved stage. */
const stageFields = z.strictObject({
  /** Number of its weights. Weighs the other numbers when stages are assembled from parts of saved ones. */
  elements: count.min(1),
  /** Optimizer updates since its moments were zero. */
  updates: count,
  learningRateScale: z.number().positive(),
  /** L2 norm of the last mean gradient, before clipping; null before the first update. */
  gradientNorm: z.number().nonnegative().nullable(),
})

export type StageFields = z.output<typeof stageFields>

const storedTensor = z.strictObject({
  dtype: z.literal('F32'),
  shape: z.array(count.min(1)).min(1),
  /** Index into `stages` of the stage that wrote the tensor. */
  stage: count,
  /** One copy, or one for each replica where the tensor is the mean of the replicas. */
  copies: z.array(z.strictObject({ sha256: digest, boxes: z.array(storedBox).min(1) })).min(1),
})

export type StoredTensor = z.output<typeof storedTensor>

const manifestSchema = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  /** The whole manifest of the run, with the number of stages that wrote the step. */
  run: runSchema,
  /** Committed steps. */
  step: count,
  stages: z.array(stageFields).min(1),
  tensors: z.record(z.string(), storedTensor),
})

export type Manifest = z.output<typeof manifestSchema>

/** The part of one replica of one stage: its boxes, and the digests of all tensors of its stage. */
const partSchema = z.strictObject({
  format: z.literal(`${FORMAT}-part`),
  version: z.literal(VERSION),
  runId: digest,
  step: count,
  fields: stageFields,
  tensors: z.record(
    z.string(),
    z.strictObject({
      shape: storedTensor.shape.shape,
      copies: z.enum(['equal', 'mean']),
      sha256: digest,
      boxes: z.array(storedBox),
    }),
  ),
})

export type Part = z.output<typeof partSchema>

export function newManifest(content: Omit<Manifest, 'format' | 'version'>): Manifest {
  return { format: FORMAT, version: VERSION, ...content }
}

export function newPart(content: Omit<Part, 'format' | 'version'>): Part {
  return { format: `${FORMAT}-part`, version: VERSION, ...content }
}

/** One line of JSON that ends with its own SHA-256. */
export function encode(content: Manifest | Part): Uint8Array {
  const text = JSON.stringify(content)
  return new TextEncoder().encode(
    `${text.slice(0, -1)},"sha256":"${sha256(new TextEncoder().encode(text))}"}\n`,
  )
}

/** Names the checkpoint that a run is started from. */
export function originOf(manifest: Manifest): Origin {
  return { step: manifest.step, sha256: sha256(encode(manifest)) }
}

/** True if a run may roll back to the checkpoint: its run saved it, or was started from it. */
export function isOf(manifest: Manifest, run: Run, origin: Origin | null): boolean {
  if (runId(manifest.run) === runId(run)) return true
  return manifest.step === origin?.step && originOf(manifest).sha256 === origin.sha256
}

/** @throws CheckpointError */
export function decodeManifest(bytes: Uint8Array, where: string): Manifest {
  const manifest = decode(manifestSchema, bytes, where)
  for (const [name, tensor] of Object.entries(manifest.tensors)) {
    const fault = tensorFault(tensor, manifest.stages.length)
    if (fault !== null) throw new CheckpointError(`${where}: tensor ${name}: ${fault}`)
  }
  return manifest
}

/** @throws CheckpointError */
export function decodePart(bytes: Uint8Array, where: string): Part {
  return decode(partSchema, bytes, where)
}

/** Says what is wrong with a tensor's entry; null if it is valid. */
export function tensorFault({ shape, copies, stage }: StoredTensor, stages: number): string | null {
  if (stage >= stages) return `stage ${stage} is not in the manifest`
  for (const { boxes } of copies) {
    const fault = coverFault(shape, boxes)
    if (fault !== null) return fault
    for (const { size, begin, end, file } of boxes) {
      if (end - begin !== sizeOf(size) * Float32Array.BYTES_PER_ELEMENT) {
        return `${end - begin} bytes of ${file} for [${size}]`
      }
    }
  }
  return null
}

function decode<T>(schema: z.ZodType<T>, bytes: Uint8Array, where: string): T {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new CheckpointError(`${where} is not JSON, or only a part of it`)
  }
  const { sha256: expected, ...content } = (value ?? {}) as Record<string, unknown>
  if (content.version !== VERSION) {
    throw new CheckpointError(
      `${where} is of version ${JSON.stringify(content.version)}; this gensyn-node reads ${VERSION}`,
    )
  }
  // Parsing keeps the order of keys, so this is the text that was hashed.
  const found = sha256(new TextEncoder().encode(JSON.stringify(content)))
  if (found !== expected) throw new CheckpointError(`${where} is damaged: its SHA-256 is ${found}`)
  const result = schema.safeParse(content)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new CheckpointError(`${where}: ${issue!.path.join('.')}: ${issue!.message}`)
}
