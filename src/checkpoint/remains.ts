/** What a peer's disk has of its run beside the states of stages: the history that they belong to, and the last members. */
import { z } from 'zod'
import { type Lineage, lineageSchema } from '../../protocols/incarnation.ts'
import { rosterSchema } from '../../protocols/membership.ts'
import { incarnationId } from '../membership/incarnation.ts'
import type { Branch } from '../recovery/return-step.ts'
import type { Store } from './store.ts'

const FILE = 'remains.json'

/** Largest size of the file in bytes: a roster of many members, and a digest. */
const BYTES_MAX = 16 << 20

/** Number of branches that a history remembers. States of earlier ones are long gone. */
const BRANCHES_MAX = 16

const remainsSchema = z.strictObject({
  /** The branches of the history, the present one last. */
  branches: z
    .array(z.strictObject({ id: z.string().length(64), until: z.int().min(0).nullable() }))
    .min(1)
    .max(BRANCHES_MAX),
  lineage: lineageSchema,
  /** The roster after the last step that was written. */
  roster: rosterSchema,
})
/** The incarnation that a process was in, and the last roster that it wrote. */
export type SavedRemains = z.infer<typeof remainsSchema>

/**
 * The branches of a history after a peer entered an incarnation.
 * @param before branches of the history that the peer followed before
 */
export function branchesOf(
  runId: string,
  { record }: Lineage,
  before: readonly Branch[] = [],
): Branch[] {
  if (record === null) return [{ id: runId, until: null }]
  const { ancestor, step } = record
  const last = before.at(-1)
  const id = incarnationId(runId, record)
  if (last?.id === id) return [...before]
  // The history of another peer may have other branches before. Of these only the last one is known here.
  const known = last?.id === ancestor ? before.slice(0, -1) : []
  const earlier = known.filter(({ until }) => until !== null && until <= step)
  const all = [...earlier, { id: ancestor, until: step }, { id, until: null }]
  return all.slice(-BRANCHES_MAX)
}

/** Tells whether a file of the store is that of the remains. */
export function isRemains(name: string): boolean {
  return name === FILE
}

/** Reads the remains of an earlier process; null if there are none, or they cannot be read. */
export async function readRemains(store: Store): Promise<SavedRemains | null> {
  const file = (await store.list(FILE)).find(({ name }) => name === FILE)
  if (file === undefined || file.bytes > BYTES_MAX) return null
  const bytes = new Uint8Array(file.bytes)
  await store.read(FILE, 0, bytes)
  try {
    return remainsSchema.parse(JSON.parse(new TextDecoder().decode(bytes)))
  } catch {
    return null
  }
}

export async function writeRemains(store: Store, remains: SavedRemains): Promise<void> {
  await store.write(FILE, [new TextEncoder().encode(JSON.stringify(remains))])
}

export async function removeRemains(store: Store): Promise<void> {
  await store.remove(FILE)
}
