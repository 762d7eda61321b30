/**
 * The state of the peers of one machine, `.gensyn/<run>/peers/<n>/`: each process claims a slot with an identity, a
 * journal and weights of its own, and a peer that comes back finds its slot again. The slots are an address book too:
 * peers of one machine find each other without being told.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { replaceFile } from './atomic-file.ts'
import { InputError, systemCode } from './errors.ts'
import { acquire, isAlive, type Lock, ownerOf, ownerSchema, thisProcess } from './lock.ts'

/** Of one run on one machine. */
const MAX_SLOTS = 1024

const ADDRESSES = 'addresses.json'
/** In a slot: a process of it was in the run when a step was made. */
const TOOK_PART = 'took-part'
/** In the run's folder: a process of this machine was there when it ended. */
const OVER = 'over'

/** What a peer publishes. It counts while the slot has the owner that it names. */
const publishedSchema = z.strictObject({ owner: ownerSchema, addresses: z.array(z.string()) })

type Published = z.output<typeof publishedSchema>

export interface Slot {
  /** Counted from 1. */
  readonly number: number
  /** The folder that is this process's own. */
  readonly path: string
  /** A process before this one has made steps of the run. */
  readonly tookPart: boolean
  /** A step was made with this process. */
  takesPart(): void
  /** Tells the other peers of this machine where to find this one. */
  publish(addresses: readonly string[]): void
  /** Safe while the process exits. */
  release(): void
}

function runFolder(dataDir: string, runId: string): string {
  return join(dataDir, runId.slice(0, 12))
}

/**
 * Takes the first slot that no live process has.
 * @throws InputError if the folder cannot be used, or every slot is taken
 */
export function claimSlot(dataDir: string, runId: string): Slot {
  return usable(dataDir, () => {
    for (let number = 1; number <= MAX_SLOTS; number++) {
      const path = join(runFolder(dataDir, runId), 'peers', String(number))
      // It will hold a private key.
      mkdirSync(path, { recursive: true, mode: 0o700 })
      const lock = acquire(join(path, 'lock'))
      if (lock !== null) return slotOf(number, path, lock)
    }
    throw new InputError(`${MAX_SLOTS} peers use --data-dir ${dataDir} already: take another one.`)
  })
}

function slotOf(number: number, path: string, lock: Lock): Slot {
  const mark = join(path, TOOK_PART)
  const tookPart = existsSync(mark)
  let isMarked = tookPart
  return {
    number,
    path,
    tookPart,
    takesPart: () => {
      if (!isMarked) replaceFile(mark, '')
      isMarked = true
    },
    publish: (addresses) => {
      const published: Published = { owner: thisProcess(), addresses: [...addresses] }
      replaceFile(join(path, ADDRESSES), `${JSON.stringify(published)}\n`)
    },
    release: () => lock.release(),
  }
}

/** The addresses of the live peers of this machine, this process's own left out, in the order of their slots. */
export function knownAddresses(dataDir: string, runId: string): string[] {
  return usable(dataDir, () => {
    return peerFolders(dataDir, runId).flatMap((folder) => {
      const owner = ownerOf(join(folder, 'lock'))
      if (owner === null || owner.pid === process.pid || !isAlive(owner)) return []
      const published = publishedIn(join(folder, ADDRESSES))
      // What an earlier owner of the slot has left behind does not count.
      const { pid, start } = published?.owner ?? {}
      return pid === owner.pid && start === owner.start ? published!.addresses : []
    })
  })
}

/**
 * Of several processes that found nobody of the run, one founds it: true for that one. The claim lasts as long as the
 * process does.
 */
export function claimFounder(dataDir: string, runId: string): boolean {
  return usable(dataDir, () => {
    const folder = runFolder(dataDir, runId)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    return acquire(join(folder, 'founder.lock')) !== null
  })
}

/** Whether the run has ended as it should, as far as this machine knows. */
export function isOver(dataDir: string, runId: string): boolean {
  return existsSync(join(runFolder(dataDir, runId), OVER))
}

export function markOver(dataDir: string, runId: string): void {
  replaceFile(join(runFolder(dataDir, runId), OVER), '')
}

/** The run is to be made anew: what is known of the first time does not count. */
export function forgetRun(dataDir: string, runId: string): void {
  usable(dataDir, () => {
    const marks = peerFolders(dataDir, runId).map((folder) => join(folder, TOOK_PART))
    for (const mark of [...marks, join(runFolder(dataDir, runId), OVER)])
      rmSync(mark, { force: true })
  })
}

/** The folders of this machine's peers, the living and the dead, in the order of their slots. */
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

/** Null if this slot has not told its addresses yet. */
function publishedIn(path: string): Published | null {
  try {
    return publishedSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null
    throw new InputError(`${path} is damaged. Remove it, and start that peer again.`)
  }
}

/** Names the folder where the system only says EACCES. */
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
