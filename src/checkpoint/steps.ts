/** Which steps a store has, which of them are complete, and which may go. */
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

/** A manifest is a few hundred bytes a tensor. */
const MANIFEST_BYTES_MAX = 256 << 20

const FOLDER = /^step-(\d{12})\//

export interface LatestOptions {
  /** Steps of other runs are passed over, but for what this one was started from. */
  readonly run?: Run
  readonly origin?: Origin | null
  /** Whether to read and hash every tensor, or to look at names and lengths only. */
  readonly depth: 'lengths' | 'content'
  /** Later steps are passed over. Default: none are. */
  readonly upTo?: number
  /** Told of each later step that is there and cannot be used, and why. */
  readonly onRefused?: (step: number, reason: string) => void
}

/** The last step that can be loaded; null if none can. */
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

/** @throws CheckpointError that names what is wrong */
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

/** In ascending order. */
function stepsOf(files: readonly StoredFile[]): number[] {
  const steps = files.flatMap(({ name }) => FOLDER.exec(name)?.[1] ?? [])
  return [...new Set(steps.map(Number))].sort((a, b) => a - b)
}

/**
 * Keeps the last `keep` complete steps, and whatever is later than they are: it may be on its way. Of the steps that are
 * kept, what their manifests do not name goes too. To be called when no step of these is being written.
 * @param upTo later steps are left alone: those of a run that has gone back to before them
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
    // The manifest first: a step that is half removed has none.
    const ordered = removed.toSorted((a, b) => rank(a) - rank(b))
    for (const name of ordered) await store.remove(name)
  }
}

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
