/**
 * A claim of one process on a path, kept in a file that names the process. If that is killed the next to come takes
 * the claim over. Process ids mean something on one machine only: containers that share a folder need one each.
 */
import { readFileSync, rmSync } from 'node:fs'
import { z } from 'zod'
import { createFile } from './atomic-file.ts'
import { InputError, systemCode } from './errors.ts'

export const ownerSchema = z.strictObject({
  pid: z.int().min(1),
  /** When the process was started, in clock ticks since boot; '' where the system does not tell. */
  start: z.string().regex(/^\d*$/),
})

/** A process, told apart from a later one that was given the same id. */
type Owner = z.output<typeof ownerSchema>

export interface Lock {
  release(): void
}

export function thisProcess(): Owner {
  return { pid: process.pid, start: statusOf(process.pid)?.start ?? '' }
}

export function isAlive({ pid, start }: Owner): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM tells of a live process of another user.
    if (systemCode(error) === 'ESRCH') return false
  }
  const status = statusOf(pid)
  // A zombie still has its id, but has closed its files and runs no more.
  return status === null || (status.start === start && !/[ZX]/.test(status.state))
}

/** Null where the system does not tell: outside Linux. */
function statusOf(pid: number): { state: string; start: string } | null {
  try {
    const status = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // "pid (command) state ... start ...": the command may itself hold spaces and parentheses.
    const fields = status.slice(status.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0]!, start: fields[19]! }
  } catch {
    return null
  }
}

/**
 * Null if nobody has claimed `path`.
 * @throws InputError if the file is not one that `acquire` writes
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

/** Claims `path` for this process; null if a live process has it. */
export function acquire(path: string): Lock | null {
  const self = thisProcess()
  for (;;) {
    if (createFile(path, JSON.stringify(self))) return { release: () => releaseOf(path, self) }
    const owner = ownerOf(path)
    if (owner === null) continue
    if (isAlive(owner)) return null
    // Several may find the same dead owner. Were each to remove the file, the second would remove the first one's new
    // claim. So removing is itself claimed, by a path that names the dead owner, and the file is looked at again.
    const right = acquire(`${path}.${owner.pid}-${owner.start}`)
    if (right === null) return null
    try {
      const now = ownerOf(path)
      if (now !== null && same(now, owner) && !isAlive(now)) rmSync(path)
    } finally {
      right.release()
    }
  }
}

function releaseOf(path: string, self: Owner): void {
  const owner = ownerOf(path)
  if (owner !== null && same(owner, self)) rmSync(path)
}
