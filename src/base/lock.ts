/**
 * A lock of one process on a path. The lock file names its owner, so that another process can take over the lock of a
 * dead process. Process ids are valid on one machine only: containers that share a folder each need another path.
 */
import { readFileSync, rmSync } from 'node:fs'
import { z } from 'zod'
import { createFile } from './atomic-file.ts'
import { InputError, systemCode } from './errors.ts'

export const ownerSchema = z.strictObject({
  pid: z.int().min(1),
  /** Start time of the process, in clock ticks since boot; '' where the system does not report it. */
  start: z.string().regex(/^\d*$/),
})

/** A process, by its id and start time. The start time tells apart two processes that had the same id in turn. */
type Owner = z.output<typeof ownerSchema>

/** A lock that this process has. */
export interface Lock {
  release(): void
}

/** This process, as a lock file names it. */
export function thisProcess(): Owner {
  return { pid: process.pid, start: statusOf(process.pid)?.start ?? '' }
}

/** Tells whether the process that a lock file names is still running. */
export function isAlive({ pid, start }: Owner): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM means that the process is alive and belongs to another user.
    if (systemCode(error) === 'ESRCH') return false
  }
  const status = statusOf(pid)
  // A zombie process keeps its id, but has closed its files and does not run any more.
  return status === null || (status.start === start && !/[ZX]/.test(status.state))
}

/** State and start time of a process from /proc; null outside Linux. */
function statusOf(pid: number): { state: string; start: string } | null {
  try {
    const status = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // "pid (command) state ... start ...": the command may contain spaces and parentheses.
    const fields = status.slice(status.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0]!, start: fields[19]! }
  } catch {
    return null
  }
}

/**
 * Reads the owner from a lock file; null if there is no file.
 * @throws InputError if the file is damaged
 */
export function ownerOf(path: string): Owner | null {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null
    throw error
  }
  try {
    return ownerSchema.parse(JSON.parse(text))
  } catch {
    throw new InputError(`${path} is damaged. Remove it once no gensyn-node uses its folder.`)
  }
}

function same(a: Owner, b: Owner): boolean {
  return a.pid === b.pid && a.start === b.start
}

/**
 * Takes the lock on `path` for this process; null if a live process has it.
 * @throws InputError if the lock file is damaged
 */
export function acquire(path: string): Lock | null {
  const self = thisProcess()
  for (;;) {
    if (createFile(path, JSON.stringify(self))) return { release: () => releaseOf(path, self) }
    const owner = ownerOf(path)
    if (owner === null) continue
    if (isAlive(owner)) return null
    // Several processes may find the same dead owner. If each removed the file, the second would remove the new lock of
    // the first. So the removal needs a lock of its own, named after the dead owner, and the owner is read again.
    const removal = acquire(`${path}.${owner.pid}-${owner.start}`)
    if (removal === null) return null
    try {
      const now = ownerOf(path)
      if (now !== null && same(now, owner) && !isAlive(now)) rmSync(path)
    } finally {
      removal.release()
    }
  }
}

function releaseOf(path: string, self: Owner): void {
  const owner = ownerOf(path)
  if (owner !== null && same(owner, self)) rmSync(path)
}
