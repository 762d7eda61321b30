/** What a peer's disk has of its run beside the states of stages: the history that they belong to, and the last members. */
import type { Branch, Lineage } from '../../protocols/incarnation.ts'
import { type History, historySchema } from '../../protocols/return.ts'
import { incarnationId } from '../membership/incarnation.ts'
import type { Store } from './store.ts'

const FILE = 'remains.json'

/** Largest size of the file in bytes: a roster of many members, and a digest. */
const BYTES_MAX = 16 << 20

/**
 * The branches of the history of an incarnation, the present one last. A branch whose steps go beyond the step of a later
 * founding is left out: the run rolled back in between, and made steps with the same numbers again.
 */
export function branchesOf(runId: string, { record, branches }: Lineage): Branch[] {
  if (record === null) return [{ id: runId, until: null }]
  const own = { id: incarnationId(runId, record), until: null }
  return [...branches.filter(({ until }) => until !== null && until <= record.step), own]
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
