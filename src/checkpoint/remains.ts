/** What a peer's disk has of its run beside the states of stages: the history that they belong to, and the last members. */
import type { Lineage } from '../../protocols/incarnation.ts'
import { BRANCHES_MAX, type Branch, type History, historySchema } from '../../protocols/return.ts'
import { incarnationId } from '../membership/incarnation.ts'
import type { Store } from './store.ts'

const FILE = 'remains.json'

/** Largest size of the file in bytes: a roster of many members, and a digest. */
const BYTES_MAX = 16 << 20

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
export async function readRemains(store: Store): Promise<History | null> {
  const file = (await store.list(FILE)).find(({ name }) => name === FILE)
  if (file === undefined || file.bytes > BYTES_MAX) return null
  const bytes = new Uint8Array(file.bytes)
  await store.read(FILE, 0, bytes)
  try {
    return historySchema.parse(JSON.parse(new TextDecoder().decode(bytes)))
  } catch {
    return null
  }
}

export async function writeRemains(store: Store, remains: History): Promise<void> {
  await store.write(FILE, [new TextEncoder().encode(JSON.stringify(remains))])
}

export async function removeRemains(store: Store): Promise<void> {
  await store.remove(FILE)
}
