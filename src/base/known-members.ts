/**
 * The members of the run that this peer knew last, with their addresses. A peer that lost the run asks these members
 * before anything else.
 */
import { readFileSync, statSync } from 'node:fs'
import { z } from 'zod'
import type { Clock } from '../../protocols/clock.ts'
import type { Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { replaceFile } from './atomic-file.ts'
import { KNOWN_MEMBERS_MAX, KNOWN_MEMBERS_MS } from './limits.ts'

const memberSchema = z.strictObject({
  peer: z.string().min(1).max(128),
  addresses: z.array(z.string().max(512)).max(16),
})
const fileSchema = z.strictObject({ members: z.array(memberSchema).max(KNOWN_MEMBERS_MAX) })

/** A member, and where it was reached. */
export type KnownMember = z.infer<typeof memberSchema>

/** Keeps the members of the latest roster. */
export interface KnownMembers {
  /** The members of the latest roster without this peer, the coordinator first, at most KNOWN_MEMBERS_MAX. */
  list(): readonly KnownMember[]
  /** Takes over the members of a later roster. A roster with the same members costs nothing. */
  keep(roster: Roster): void
}

/** Keeps the members in memory. */
export class MembersInMemory implements KnownMembers {
  readonly #self: PeerId
  readonly #earlier: readonly KnownMember[]
  #roster: Roster | null = null

  /** @param earlier members that an earlier process knew */
  constructor(self: PeerId, earlier: readonly KnownMember[] = []) {
    this.#self = self
    this.#earlier = earlier
  }

  list(): readonly KnownMember[] {
    const distinct = new Map<PeerId, KnownMember>()
    for (const { peer, addresses } of this.#all()) {
      if (distinct.size === KNOWN_MEMBERS_MAX) break
      if (peer !== this.#self && !distinct.has(peer)) distinct.set(peer, { peer, addresses })
    }
    return [...distinct.values()]
  }

  keep(roster: Roster): void {
    // A roster of this peer alone names nobody who could be asked.
    if (roster.members.length > 1) this.#roster = roster
  }

  *#all(): Iterable<KnownMember> {
    if (this.#roster === null) return yield* this.#earlier
    const { members, coordinator } = this.#roster
    yield* members.filter(({ id }) => id === coordinator)
    yield* members
  }
}

interface MembersOnDiskOptions {
  readonly self: PeerId
  /** File of this peer. */
  readonly path: string
  /** Files of the other peers of this machine. They are read once, the latest first. */
  readonly others: readonly string[]
  readonly clock: Clock
  /** Called at most once, if the file cannot be written. */
  failed(message: string): void
}

/** Keeps the members in memory and in a file. A burst of changes makes two writes: one at once, and one later. */
export class MembersOnDisk implements KnownMembers {
  readonly #options: MembersOnDiskOptions
  readonly #memory: MembersInMemory
  readonly #closing = new AbortController()
  /** Members of the last roster. Commits share the array, which saves comparing. */
  #members: Roster['members'] | null = null
  #written = ''
  #writtenAt = Number.NEGATIVE_INFINITY
  #isDue = false
  #hasFailed = false

  constructor(options: MembersOnDiskOptions) {
    this.#options = options
    const { self, path, others } = options
    const latestFirst = others.toSorted((a, b) => modifiedAt(b) - modifiedAt(a))
    this.#memory = new MembersInMemory(self, [path, ...latestFirst].flatMap(membersIn))
  }

  list(): readonly KnownMember[] {
    return this.#memory.list()
  }

  keep(roster: Roster): void {
    this.#memory.keep(roster)
    if (roster.members === this.#members) return
    this.#members = roster.members
    if (this.#isDue) return
    const { clock } = this.#options
    const waitMs = this.#writtenAt + KNOWN_MEMBERS_MS - clock.now()
    if (waitMs <= 0) {
      this.#write()
      return
    }
    this.#isDue = true
    void clock.sleep(waitMs, this.#closing.signal).then(
      () => this.#write(),
      () => {},
    )
  }

  /** Writes what is not written yet. */
  close(): void {
    this.#closing.abort()
    if (this.#isDue) this.#write()
  }

  #write(): void {
    const { path, clock, failed } = this.#options
    this.#isDue = false
    const members = this.#memory.list()
    const content = `${JSON.stringify({ members })}\n`
    if (members.length === 0 || content === this.#written) return
    this.#writtenAt = clock.now()
    try {
      replaceFile(path, content)
      this.#written = content
    } catch (error) {
      if (this.#hasFailed) return
      this.#hasFailed = true
      failed(
        `the addresses of the members cannot be kept (${(error as Error).message}): after a restart this peer needs --bootstrap`,
      )
    }
  }
}

/** The members in a file. A missing or damaged file gives none: the file only helps a search. */
function membersIn(path: string): KnownMember[] {
  try {
    return fileSchema.parse(JSON.parse(readFileSync(path, 'utf8'))).members
  } catch {
    return []
  }
}

/** Time of the last write in milliseconds; 0 without a file. */
function modifiedAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
