/** The steps of a store: finds the complete ones, opens one, and removes old ones. */
import type { Origin } from '../../protocols/membership.ts'
import { type Run, runId } from '../run/run.ts'
import { CheckpointError } from './error.ts'
import {
  decodeManifest,
  decodePart,
  isOf,
  MANIFEST,
  type Manifest,
  type Part,
  stepFolder,
} from './manifest.ts'
import type { Store, StoredFile } from './store.ts'
import { verifyTensor } from './tensor.ts'

/** Upper bound of a manifest or part. A manifest has a few hundred bytes for each tensor. */
const MANIFEST_BYTES_MAX = 256 << 20

const FOLDER = /^step-(\d{12})\//

export interface LatestOptions {
  /** Steps of other runs are skipped, except the one that this run was started from. */
  readonly run?: Run
  readonly origin?: Origin | null
  /** `content` reads and hashes every tensor; `lengths` checks names and lengths only. */
  readonly depth: 'lengths' | 'content'
  /** Later steps are skipped. Default: none. */
  readonly upTo?: number
  /** Called for each step that is skipped because it cannot be used. */
  readonly onRefused?: (step: number, reason: string) => void
}

/** Manifest of the last step that can be loaded; null if there is none. */
export async function latestComplete(
  store: Store,
  { run, origin = null, depth, upTo = Infinity, onRefused }: LatestOptions,
): Promise<Manifest | null> {
  const files = await store.list('step-')
  for (const step of stepsOf(files).reverse()) {
    if (step > upTo) continue
    try {
      return await checkStep(store, files, step, depth, run && { run, origin })
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error
      onRefused?.(step, error.message)
    }
  }
  return null
}

/** Opens a step. @throws CheckpointError that says what is wrong */
export async function openStep(store: Store, step: number): Promise<Manifest> {
  const files = await store.list(`${stepFolder(step)}/`)
  return checkStep(store, files, step, 'lengths')
}

async function checkStep(
  store: Store,
  files: readonly StoredFile[],
  step: number,
  depth: LatestOptions['depth'],
  owner?: { readonly run: Run; readonly origin: Origin | null },
): Promise<Manifest> {
  const folder = stepFolder(step)
  const lengths = new Map(files.map(({ name, bytes }) => [name, bytes]))
  const name = `${folder}/${MANIFEST}`
  const manifest = decodeManifest(await readSmall(store, name, lengths.get(name)), name)
  if (manifest.step !== step) throw new CheckpointError(`${name} is of step ${manifest.step}`)
  if (owner !== undefined && !isOf(manifest, owner.run, owner.origin)) {
    throw new CheckpointError(`${name} is of another run, ${runId(manifest.run).slice(0, 12)}`)
  }
  for (const [tensor, { copies }] of Object.entries(manifest.tensors)) {
    for (const { file, end } of copies.flatMap(({ boxes }) => boxes)) {
      const length = lengths.get(`${folder}/${file}`)
      const fault = length === undefined ? 'is missing' : length < end ? 'is truncated' : null
      if (fault === null) continue
      throw new CheckpointError(`step ${step}: tensor ${tensor}: ${folder}/${file} ${fault}`)
    }
  }
  if (depth === 'content') {
    for (const tensor of Object.keys(manifest.tensors)) await verifyTensor(store, manifest, tensor)
  }
  return manifest
}

export async function readPart(store: Store, name: string): Promise<Part> {
  const found = (await store.list(name)).find((file) => file.name === name)
  return decodePart(await readSmall(store, name, found?.bytes), name)
}

async function readSmall(
  store: Store,
  name: string,
  length: number | undefined,
): Promise<Uint8Array> {
  if (length === undefined) throw new CheckpointError(`${name} is missing`)
  if (length > MANIFEST_BYTES_MAX) throw new CheckpointError(`${name} has ${length} bytes`)
  const bytes = new Uint8Array(length)
  await store.read(name, 0, bytes)
  return bytes
}

/** The step that a file belongs to; null for a file of no step. */
export function stepOf(name: string): number | null {
  const digits = FOLDER.exec(name)?.[1]
  return digits === undefined ? null : Number(digits)
}

/** The steps of the files, in ascending order. */
function stepsOf(files: readonly StoredFile[]): number[] {
  const steps = files.flatMap(({ name }) => stepOf(name) ?? [])
  return [...new Set(steps)].sort((a, b) => a - b)
}

/**
 * Removes old steps. Keeps the last `keep` complete steps, and all later ones, which may still be written. Also removes
 * the files of kept steps that their manifests do not name. Must be called when none of these steps is being written.
 * @param upTo later steps are not touched: a run that rolled back may have them
 */
export async function retain(store: Store, keep: number, upTo = Infinity): Promise<void> {
  const files = await store.list('step-')
  let kept = 0
  for (const step of stepsOf(files).reverse()) {
    if (step > upTo) continue
    const own = files.filter(({ name }) => name.startsWith(`${stepFolder(step)}/`))
    const manifest = kept < keep ? await completeOrNull(store, own, step) : null
    if (manifest === null && kept === 0) continue
    if (manifest !== null) kept++
    const needed = manifest === null ? new Set<string>() : filesOf(manifest)
    const removed = own.map(({ name }) => name).filter((name) => !needed.has(name))
    // The manifest is removed first, so that a step is never complete while its files are missing.
    const ordered = removed.toSorted((a, b) => rank(a) - rank(b))
    for (const name of ordered) await store.remove(name)
  }
}

/** Order of removal. */
function rank(name: string): number {
  return name.endsWith(`/${MANIFEST}`) ? 0 : 1
}

async function completeOrNull(
  store: Store,
  files: readonly StoredFile[],
  step: number,
): Promise<Manifest | null> {
  try {
    return await checkStep(store, files, step, 'lengths')
  } catch (error) {
    if (error instanceof CheckpointError) return null
    throw error
  }
}

function filesOf({ step, tensors }: Manifest): Set<string> {
  const folder = stepFolder(step)
  const names = Object.values(tensors).flatMap(({ copies }) =>
    copies.flatMap(({ boxes }) => boxes.map(({ file }) => `${folder}/${file}`)),
  )
  return new Set([`${folder}/${MANIFEST}`, ...names])
}
