/**
 * Saves a step. Each replica of each stage writes its share of the data, and a part file that describes the share. When
 * all have done so, the coordinator writes the manifest from the parts. Until then the step does not exist.
 */
import { bytesOf, sha256 } from '../../protocols/weights.ts'
import { rowSize, rowsOf, shareOf } from '../../stages/boxes.ts'
import type { Parameter } from '../../stages/stage.ts'
import type { TensorRule } from '../../stages/tensor-rules.ts'
import { type Run, runId, stageConfig } from '../run/run.ts'
import { digestOf } from './digest.ts'
import { CheckpointError } from './error.ts'
import { gather, placesOf, type StageTensors, statesOf } from './layout.ts'
import {
  encode,
  MANIFEST,
  type Manifest,
  newManifest,
  newPart,
  type Part,
  type StageFields,
  type StoredBox,
  stepFolder,
  tensorFault,
} from './manifest.ts'
import { readPart } from './steps.ts'
import type { Store } from './store.ts'

/** Upper bound of a file, which is written from memory at once. A file with a single longer row may exceed it. */
const FILE_BYTES = 64 << 20

/** One replica's part in a step. */
export interface StageSave {
  readonly run: Run
  /** Committed steps. */
  readonly step: number
  /** 0 for the ends. */
  readonly stage: number
  /** Number of the replica, from 0, in an order on which all replicas of the stage agree. */
  readonly replica: number
  /** Number of replicas that save this stage. */
  readonly replicas: number
  /** Tells apart several attempts at the same step. {@link StepCommit} must have the same. */
  readonly attempt?: number | undefined
  readonly parameters: readonly Parameter[]
  /** Must not change until the stage is saved. */
  readonly tensors: StageTensors
  readonly fields: Omit<StageFields, 'elements'>
  /** Default: each parameter is one tensor, and all replicas have equal copies. */
  readonly rules?: readonly TensorRule[]
  /** Upper bound of a file in bytes; default {@link FILE_BYTES}. */
  readonly fileBytes?: number
}

/** Consecutive rows of a tensor that go to one file. */
interface Slice {
  readonly tensor: string
  readonly shape: readonly number[]
  readonly begin: number
  readonly bytes: Uint8Array
}

/** Writes the share of this replica. It is durable when the promise resolves. */
export async function saveStage(store: Store, save: StageSave): Promise<{ bytes: number }> {
  const { run, step, replica, replicas, parameters, tensors: state, rules = [] } = save
  const folder = stepFolder(step)
  const places = placesOf(parameters, rules, statesOf(stageConfig(run).optimizer))
  let elements = 0
  const tensors: Part['tensors'] = {}
  const flats = new Map<string, Float32Array>()
  for (const place of places) {
    const flat = gather(state, place)
    flats.set(place.name, flat)
    if (place.state === 'weights') elements += flat.length
    const { name, shape, copies } = place
    tensors[name] = { shape: [...shape], copies, sha256: await digestOf(flat), boxes: [] }
  }
  let bytes = 0
  for (const file of filesOf(
    slicesOf(tensors, flats, replica, replicas),
    save.fileBytes ?? FILE_BYTES,
  )) {
    const boxes: [string, StoredBox][] = []
    let begin = 0
    for (const { tensor, shape, begin: row, bytes } of file) {
      const size = rowSize(shape)
      const rows = bytes.length / Float32Array.BYTES_PER_ELEMENT / size
      const { offset, size: extent } = rowsOf(shape, row, row + rows)
      const whole = rows === shape[0]
      const digest = whole ? tensors[tensor]!.sha256 : await digestOf(bytes)
      const end = begin + bytes.length
      boxes.push([
        tensor,
        { offset: [...offset], size: [...extent], file: '', begin, end, sha256: digest },
      ])
      begin = end
    }
    // Named by its content: what is written again is the same, and no file of a complete step ever changes.
    const content = boxes.map(([, box]) => box.sha256).join()
    const name = `${sha256(new TextEncoder().encode(content)).slice(0, 32)}.bin`
    await store.write(
      `${folder}/${name}`,
      file.map(({ bytes }) => bytes),
    )
    for (const [tensor, box] of boxes) tensors[tensor]!.boxes.push({ ...box, file: name })
    bytes += begin
  }
  const fields = { ...save.fields, elements }
  const part = newPart({ runId: runId(run), step, fields, tensors })
  await store.write(partName(save), [encode(part)])
  return { bytes }
}

/** The share of one replica. Each replica saves the whole of a tensor that is averaged. */
function* slicesOf(
  tensors: Part['tensors'],
  flats: ReadonlyMap<string, Float32Array>,
  replica: number,
  replicas: number,
): Generator<Slice> {
  const names = { equal: [] as string[], mean: [] as string[] }
  for (const [name, { copies }] of Object.entries(tensors)) names[copies].push(name)
  for (const [copies, group] of Object.entries(names)) {
    const shapes = group.map((name) => tensors[name]!.shape)
    const [own, all] = copies === 'equal' ? [replica, replicas] : [0, 1]
    for (const { tensor, begin, end } of shareOf(shapes, own, all)) {
      const name = group[tensor]!
      const size = rowSize(shapes[tensor]!)
      const bytes = bytesOf(flats.get(name)!.subarray(begin * size, end * size))
      yield { tensor: name, shape: shapes[tensor]!, begin, bytes }
    }
  }
}

/** Packs slices into files. Splits slices that are too long between two rows. */
function filesOf(slices: Iterable<Slice>, fileBytes: number): Slice[][] {
  const files: Slice[][] = []
  let room = 0
  for (const slice of slices) {
    const rowBytes = rowSize(slice.shape) * Float32Array.BYTES_PER_ELEMENT
    const most = Math.max(1, Math.floor(fileBytes / rowBytes)) * rowBytes
    for (let at = 0; at < slice.bytes.length; at += most) {
      const bytes = slice.bytes.subarray(at, at + most)
      if (bytes.length > room) {
        files.push([])
        room = fileBytes
      }
      files.at(-1)!.push({ ...slice, begin: slice.begin + at / rowBytes, bytes })
      room -= bytes.length
    }
  }
  return files
}

function partName({ step, stage, replica, replicas, attempt, run }: PartOf): string {
  const which = attempt === undefined ? '' : `-attempt-${attempt}`
  const part = `part-${stage}-of-${run.stages}-${replica}-of-${replicas}${which}.json`
  return `${stepFolder(step)}/${part}`
}

type PartOf = Pick<StageSave, 'run' | 'step' | 'stage' | 'replica' | 'replicas' | 'attempt'>

export interface StepCommit {
  readonly run: Run
  readonly step: number
  /** Number of replicas that have saved each stage. Stage 0 is the ends. */
  readonly replicas: readonly number[]
  readonly attempt?: number | undefined
}

/**
 * Writes the manifest of a step. Must be called when every replica of every stage has saved the step.
 * @throws CheckpointError if a part or a tensor is missing, or replicas differ where they should not
 */
export async function commitStep(store: Store, commit: StepCommit): Promise<Manifest> {
  const { run, step, attempt } = commit
  const id = runId(run)
  const where = `step ${step}`
  const manifest = newManifest({ run, step, stages: [], tensors: {} })
  for (const [stage, replicas] of commit.replicas.entries()) {
    for (let replica = 0; replica < replicas; replica++) {
      const name = partName({ run, step, stage, replica, replicas, attempt })
      const part = await readPart(store, name)
      if (part.runId !== id || part.step !== step) {
        throw new CheckpointError(`${name} is of run ${part.runId.slice(0, 12)}, step ${part.step}`)
      }
      if (replica === 0) manifest.stages.push(part.fields)
      add(manifest, part, stage, `${where}, stage ${stage}, replica ${replica}`)
    }
  }
  for (const [name, tensor] of Object.entries(manifest.tensors)) {
    const fault = tensorFault(tensor, manifest.stages.length)
    if (fault !== null) throw new CheckpointError(`${where}: tensor ${name}: ${fault}`)
  }
  await store.write(`${stepFolder(step)}/${MANIFEST}`, [encode(manifest)])
  return manifest
}

/** Adds the part of one replica to the manifest. @throws CheckpointError if it contradicts what is known */
function add({ tensors }: Manifest, part: Part, stage: number, who: string): void {
  for (const [name, { shape, copies, sha256, boxes }] of Object.entries(part.tensors)) {
    const known = tensors[name]
    if (known === undefined) {
      tensors[name] = { dtype: 'F32', shape, stage, copies: [{ sha256, boxes }] }
      continue
    }
    if (String(known.shape) !== String(shape)) {
      throw new CheckpointError(
        `${who}: tensor ${name} is [${shape}], others have [${known.shape}]`,
      )
    }
    if (copies === 'mean') known.copies.push({ sha256, boxes })
    else if (known.copies[0]!.sha256 !== sha256) {
      throw new CheckpointError(`${who}: tensor ${name} differs from what other holders have`)
    } else if (known.stage === stage) known.copies[0]!.boxes.push(...boxes)
    // A stage that mirrors a tensor of another stage saves only the digest, which was compared.
  }
}
