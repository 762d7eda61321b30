/**
 * The lines of a journal file. A line has no more than a reader needs: a roster is written as its difference to the one
 * before, measured numbers have six digits, long texts and lists are cut, and the peer is named once in each file.
 */
import type { Member, Roster } from '../../protocols/membership.ts'
import type { Entry } from './journal.ts'

type RosterEntry = Extract<Entry, { type: 'roster' }>
/** A member without its addresses, which no reader of a journal dials. */
type KnownMember = Omit<Member, 'addresses'>
type RosterScalars = Omit<Roster, 'members'>

/** First line of a file. It names the peer whose entries follow. */
export interface FileLine {
  readonly type: 'file'
  readonly peer: string
  /** History only: number of the last file whose entries the history has taken over. */
  readonly through?: number
}

interface RosterLine extends RosterScalars {
  readonly type: 'roster'
  readonly at: number
  readonly reason: string
  /** All members, in the first roster of a file. */
  readonly members?: readonly KnownMember[]
  /** Members that are new or changed, and ids of those that are gone, in every later roster. */
  readonly changed?: readonly KnownMember[]
  readonly gone?: readonly number[]
}

type WithoutPeer<E> = E extends unknown ? Omit<E, 'peer'> : never

/** An entry as a line has it. */
export type Line = FileLine | RosterLine | WithoutPeer<Exclude<Entry, RosterEntry>>

/** Longest text in a line, in characters. */
const TEXT_MAX = 2_000
/** Longest list in a line. A list of all stages is no longer. */
const LIST_MAX = 1_100
const DIGITS = 6
/** Numbers that are written exactly. */
const EXACT: ReadonlySet<string> = new Set(['loss', 'lossBefore', 'learningRate'])

/** Turns entries into the lines of one file. */
export class LineWriter {
  #before: Roster | null = null

  /** The text of an entry, with a new line at its end. */
  textOf(entry: Entry): string {
    if (entry.type === 'roster') return this.#rosterText(entry)
    const { peer: _, ...line } = entry
    return textOf(line)
  }

  #rosterText({ at, reason, roster }: RosterEntry): string {
    const { members, ...scalars } = roster
    const before = this.#before
    this.#before = roster
    const head = { type: 'roster', at, reason, ...scalars } as const
    if (before === null) return textOf({ ...head, members: members.map(knownOf) })
    const known = new Map(before.members.map((member) => [member.id, member]))
    const changed = members.filter((member) => isChanged(known.get(member.id), member))
    for (const { id } of members) known.delete(id)
    return textOf({ ...head, changed: changed.map(knownOf), gone: [...known.keys()] })
  }
}

/** The text of a line, with a new line at its end. */
export function textOf(line: Line): string {
  return `${JSON.stringify(line, cut)}\n`
}

/** Makes entries of the lines of one file. */
export class LineReader {
  #peer = ''
  #members = new Map<number, Member>()

  /** Null for the first line of a file. */
  entryOf(line: Line): Entry | null {
    if (line.type === 'file') {
      this.#peer = line.peer
      return null
    }
    if (line.type !== 'roster') return { ...line, peer: this.#peer } as Entry
    const { at, type, reason, members, changed = [], gone = [], ...scalars } = line
    if (members !== undefined) this.#members.clear()
    for (const member of members ?? changed) this.#members.set(member.id, withAddresses(member))
    for (const id of gone) this.#members.delete(id)
    const roster: Roster = { ...scalars, members: [...this.#members.values()] }
    return { at, peer: this.#peer, type, roster, reason }
  }
}

/** The line that a text is; null for the torn line of a process that was killed. */
export function lineOf(text: string): Line | null {
  try {
    return JSON.parse(text) as Line
  } catch {
    return null
  }
}

function knownOf({ addresses: _, ...member }: Member): KnownMember {
  return member
}

function withAddresses(member: KnownMember): Member {
  return { ...member, addresses: [] }
}

function isChanged(before: Member | undefined, after: Member): boolean {
  return before === undefined || before.stage !== after.stage || before.ready !== after.ready
}

/** A replacer for JSON.stringify. */
function cut(key: string, value: unknown): unknown {
  if (typeof value === 'string' && value.length > TEXT_MAX) return `${value.slice(0, TEXT_MAX)}...`
  if (typeof value === 'number' && !Number.isInteger(value)) {
    if (key === 'at') return Math.round(10 * value) / 10
    return EXACT.has(key) ? value : Number(value.toPrecision(DIGITS))
  }
  const isLong = Array.isArray(value) && value.length > LIST_MAX
  return isLong && key !== 'members' && key !== 'changed' ? value.slice(0, LIST_MAX) : value
}
