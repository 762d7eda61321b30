/** The saved stages of a run: a peer writes `stage-<s>.safetensors` to its slot, and readers find all stages of one step. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { sha256 } from '../../protocols/weights.ts'
import { type NamedTensor, writeSafetensors } from '../../stages/safetensors.ts'
import type { Parameter } from '../../stages/stage.ts'
import { replaceFile } from '../base/atomic-file.ts'
import { peerFolders } from '../base/data-dir.ts'
import { InputError } from '../base/errors.ts'
import { metadataOf } from './tensor-files.ts'

const FILE = /^stage-(\d+)\.safetensors$/

interface StageWeights {
  readonly parameters: readonly Parameter[]
  readonly weights: Float32Array
}

/** Metadata of a saved stage. */
export interface StageLabel {
  readonly run: string
  readonly stage: number
  /** Last step whose update the weights include. */
  readonly step: number
}

/** Writes a stage into a peer's folder, and removes the peer's earlier stages. Gives the path. */
export function saveStage(folder: string, stage: StageWeights, label: StageLabel): string {
  // Somebody may have deleted the folder while the peer was running.
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const path = writeStage(folder, stage, label)
  for (const name of readdirSync(folder)) {
    if (FILE.test(name) && join(folder, name) !== path) rmSync(join(folder, name))
  }
  return path
}

/** Writes a stage into a folder. Gives the path. */
export function writeStage(
  folder: string,
  { parameters, weights }: StageWeights,
  label: StageLabel,
): string {
  const tensors = new Map(
    parameters.map(({ name, shape, offset, length }): [string, NamedTensor] => [
      name,
      { dtype: 'F32', shape, data: new Float32Array(weights.subarray(offset, offset + length)) },
    ]),
  )
  const { run, stage, step } = label
  const metadata = { format: 'pt', run, stage: String(stage), step: String(step) }
  const path = join(folder, `stage-${stage}.safetensors`)
  replaceFile(path, writeSafetensors({ tensors, metadata }))
  return path
}

/**
 * Finds the files of all stages at the latest step for which no stage is missing.
 * @throws InputError that lists the stages of each step, if no step has all of them
 */
export async function stageFiles(
  dataDir: string,
  run: string,
  stages: number,
): Promise<{ step: number; paths: string[] }> {
  const found = new Map<number, Map<number, string>>()
  for (const path of filesIn(dataDir, run)) {
    const metadata = await metadataOf(path)
    const [stage, step] = [Number(metadata.stage), Number(metadata.step)]
    if (metadata.run !== run || !Number.isSafeInteger(stage) || !Number.isSafeInteger(step)) {
      throw new InputError(`${path} does not name its run, stage and step correctly. Remove it.`)
    }
    const same = found.get(step) ?? new Map<number, string>()
    const other = same.get(stage)
    if (other !== undefined && digestOf(other) !== digestOf(path)) {
      throw new InputError(
        `${other} and ${path} are both stage ${stage} after step ${step}, and differ. Remove the older one.`,
      )
    }
    found.set(step, same.set(stage, path))
  }
  const wanted = Array.from({ length: stages }, (_, stage) => stage)
  const steps = [...found.keys()].sort((a, b) => b - a)
  const step = steps.find((each) => wanted.every((stage) => found.get(each)!.has(stage)))
  if (step === undefined) throw new InputError(`${dataDir}: ${whyNone(wanted, found, steps)}`)
  return { step, paths: wanted.map((stage) => found.get(step)!.get(stage)!) }
}

function whyNone(
  wanted: readonly number[],
  found: ReadonlyMap<number, ReadonlyMap<number, string>>,
  steps: readonly number[],
): string {
  if (steps.length === 0) {
    return 'no peer of this run has saved its weights here. Peers save them when the run ends. Name another folder by --data-dir.'
  }
  const each = steps.map((step) => {
    const stages = found.get(step)!
    const missing = wanted.filter((stage) => !stages.has(stage))
    const there = [...stages.keys()].sort((a, b) => a - b)
    return `for step ${step}, stage ${there.join(', ')} is present and stage ${missing.join(', ')} is missing`
  })
  return (
    `no step has all ${wanted.length} stages: ${each.join('; ')}. ` +
    'Copy the missing files from the machines whose peers held those stages.'
  )
}

function filesIn(dataDir: string, run: string): string[] {
  return peerFolders(dataDir, run).flatMap((folder) => {
    if (!existsSync(folder)) return []
    const names = readdirSync(folder).filter((name) => FILE.test(name))
    return names.map((name) => join(folder, name))
  })
}

function digestOf(path: string): string {
  return sha256(readFileSync(path))
}
