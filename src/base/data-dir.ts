/**
 * The data directory: the state of all peers of one machine, in `.gensyn/<run>/peers/<n>/`. Each process claims a slot,
 * a folder with its own identity, journal and weights. A peer that is started again claims its old slot. The slots are
 * also an address book, by which the peers of one machine find each other.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { replaceFile } from './atomic-file.ts'
import { InputError, systemCode } from './errors.ts'
import { acquire, isAlive, type Lock, ownerOf, ownerSchema, thisProcess } from './lock.ts'

/** Number of peers that one run can have on one machine. */
const MAX_SLOTS = 1024

const ADDRESSES = 'addresses.json'
/** File in a slot: the members that its process knew last. */
const MEMBERS = 'members.json'
/** File in the run's folder: a process of this machine was a member when a step was committed. */
const TOOK_PART = 'took-part'
/** Folder in a slot: the states of stages (`src/checkpoint/stage-disk.ts`). */
export const STATES = 'states'
/** File in the run's folder: a process of this machine saw the run end with its last step. */
const OVER = 'over'

/** Content of a peer's address file. It is valid while the slot's lock names the same owner. */
const publishedSchema = z.strictObject({ owner: ownerSchema, addresses: z.array(z.string()) })

type Published = z.output<typeof publishedSchema>

/** The folder of one process in the data directory, with a lock on it. */
export interface Slot {
  /** Number of the slot, from 1. */
  readonly number: number
  /** Path of the folder. */
  readonly path: string
  /** Publishes this peer's addresses to the other peers of this machine. */
  publish(addresses: readonly string[]): void
  /**
   * Makes the folder again after somebody deleted it, with the lock.
   * @throws InputError if another process has the folder now
   */
  restore(): void
  /** Releases the lock. It is synchronous, so that it works while the process exits. */
  release(): void
}

function runFolder(dataDir: string, runId: string): string {
  return join(dataDir, runId.slice(0, 12))
}

/**
 * Claims the first slot that no live process has claimed.
 * @throws InputError if the data directory cannot be used, or every slot is taken
 */
export function claimSlot(dataDir: string, runId: string): Slot {
  return usable(dataDir, () => {
    for (let number = 1; number <= MAX_SLOTS; number++) {
      const path = join(runFolder(dataDir, runId), 'peers', String(number))
      // The folder will contain a private key.
      mkdirSync(path, { recursive: true, mode: 0o700 })
      const lock = acquire(join(path, 'lock'))
      if (lock !== null) return slotOf(number, path, lock)
    }
    throw new InputError(`${MAX_SLOTS} peers use --data-dir ${dataDir} already: use another one.`)
  })
}

function slotOf(number: number, path: string, first: Lock): Slot {
  let lock = first
  return {
    number,
    path,
    publish: (addresses) => {
      const published: Published = { owner: thisProcess(), addresses: [...addresses] }
      replaceFile(join(path, ADDRESSES), `${JSON.stringify(published)}\n`)
    },
    restore: () => {
      mkdirSync(path, { recursive: true, mode: 0o700 })
      const again = acquireAgain(join(path, 'lock'))
      if (again === null) throw new InputError(`another process uses ${path} now`)
      lock = again
    },
    release: () => lock.release(),
  }
}

/** Takes a lock that this process may still have. */
function acquireAgain(path: string): Lock | null {
  const owner = ownerOf(path)
  const { pid, start } = thisProcess()
  if (owner?.pid === pid && owner.start === start) rmSync(path)
  return acquire(path)
}

/**
 * Addresses of the other live peers of this machine, in the order of their slots.
 * @throws InputError if the data directory cannot be used
 */
export function knownAddresses(dataDir: string, runId: string): string[] {
  return usable(dataDir, () => {
    return peerFolders(dataDir, runId).flatMap((folder) => {
      const owner = ownerOf(join(folder, 'lock'))
      if (owner === null || owner.pid === process.pid || !isAlive(owner)) return []
      const published = publishedIn(join(folder, ADDRESSES))
      // Addresses that an earlier owner of the slot published are out of date.
      const { pid, start } = published?.owner ?? {}
      return pid === owner.pid && start === owner.start ? published!.addresses : []
    })
  })
}

/**
 * Claims to be the founder of the run on this machine. Of several processes that found no peer, exactly one gets true.
 * The claim lasts until the process ends.
 * @throws InputError if the data directory cannot be used
 */
export function claimFounder(dataDir: string, runId: string): boolean {
  return usable(dataDir, () => {
    const folder = runFolder(dataDir, runId)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    return acquire(join(folder, 'founder.lock')) !== null
  })
}

/** Tells whether a process of this machine has seen the run end with its last step. */
export function isOver(dataDir: string, runId: string): boolean {
  return existsSync(join(runFolder(dataDir, runId), OVER))
}

/** Records that the run has ended with its last step. */
export function markOver(dataDir: string, runId: string): void {
  replaceFile(join(runFolder(dataDir, runId), OVER), '')
}

/** Tells whether a process of this machine was a member of the run when a step was committed. */
export function tookPart(dataDir: string, runId: string): boolean {
  return existsSync(join(runFolder(dataDir, runId), TOOK_PART))
}

/** Records that a step was committed while a process of this machine was a member. */
export function markTookPart(dataDir: string, runId: string): void {
  replaceFile(join(runFolder(dataDir, runId), TOOK_PART), '')
}

/** The file in a slot that has the members which the slot's process knew last. */
export function membersFile(slotPath: string): string {
  return join(slotPath, MEMBERS)
}

/**
 * Removes what earlier processes left of the run, so that the run can start from its beginning again. Nothing is removed
 * while a live process of this machine is in the run: the run has started already.
 * @throws InputError if the data directory cannot be used
 */
export function forgetRun(dataDir: string, runId: string): void {
  if (knownAddresses(dataDir, runId).length > 0) return
  usable(dataDir, () => {
    const folder = runFolder(dataDir, runId)
    const slots = peerFolders(dataDir, runId)
    // The states of the run that is given up must not be taken for those of the one that begins.
    const known = slots.flatMap((slot) => [membersFile(slot), join(slot, STATES)])
    for (const path of [...known, join(folder, TOOK_PART), join(folder, OVER)]) {
      rmSync(path, { recursive: true, force: true })
    }
  })
}

/** Folders of all slots of the run, with or without a live process, in the order of their numbers. */
export function peerFolders(dataDir: string, runId: string): string[] {
  const peers = join(runFolder(dataDir, runId), 'peers')
  const numbers = namesIn(peers).map(Number)
  return numbers.sort((a, b) => a - b).map((number) => join(peers, String(number)))
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => /^\d+$/.test(name))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}

/**
 * Reads an address file; null if the peer has not published its addresses yet.
 * @throws InputError if the file is damaged
 */
function publishedIn(path: string): Published | null {
  try {
    return publishedSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null
    throw new InputError(`${path} is damaged. Remove it, and start that peer again.`)
  }
}

/**
 * Runs `work` and turns a system error into a message that names the data directory.
 * @throws InputError in place of a system error such as EACCES
 */
function usable<T>(dataDir: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    const code = systemCode(error)
    if (error instanceof InputError || code === undefined) throw error
    throw new InputError(
      `The data directory ${dataDir} cannot be used (${(error as Error).message}). Choose another by --data-dir.`,
    )
  }
}
