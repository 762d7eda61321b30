/**
 * The journal of a peer on its disk. `journal.jsonl` is the present file. When it is full it becomes `journal.<n>.jsonl`,
 * and of the oldest such file only its history stays, in `journal.history.jsonl`. All files together have a bound.
 *
 * No fault of the disk reaches the node. A record that cannot be written is dropped and counted. The person at the
 * terminal is told once, and again when records are written.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { replaceFile } from './atomic-file.ts'
import { InputError, systemCode } from './errors.ts'
import type { Entry } from './journal.ts'
import { keptOf, thinned } from './journal-history.ts'
import {
  type FileLine,
  type Line,
  LineReader,
  LineWriter,
  lineOf,
  textOf,
} from './journal-lines.ts'
import { JOURNAL_BYTES, JOURNAL_RETRY_MS } from './limits.ts'

const PRESENT = 'journal.jsonl'
const HISTORY = 'journal.history.jsonl'
const FULL = /^journal\.(\d+)\.jsonl$/
/** Parts of the bound: the present file, one full file, and two for the history. */
const PARTS = 4
/** The first line of a history is shorter. */
const HEAD_BYTES = 512

export interface JournalFileOptions {
  /** Folder of the files. */
  readonly folder: string
  /** The peer whose entries are written. */
  readonly peer: string
  /** Bound of all files together. Default: {@link JOURNAL_BYTES}. */
  readonly maxBytes?: number | undefined
  /** Time in milliseconds. */
  now(): number
  /** Tells the person at the terminal of a fault of the disk, and of its end. */
  tell(message: string): void
  /** Makes the folder again after it was deleted. @throws a system error if that fails */
  restore?(): void
}

/** The open file, and what tells whether its path still leads to it. */
interface Present {
  readonly file: number
  readonly inode: number
  readonly writer: LineWriter
  bytes: number
}

export class JournalFile {
  readonly #options: JournalFileOptions
  readonly #path: string
  #present: Present | null
  #dropped = 0
  /** Time of the last look at the path, or of the last failed write. */
  #lookedAt: number

  /** @throws InputError if the file cannot be opened */
  constructor(options: JournalFileOptions) {
    this.#options = options
    this.#path = join(options.folder, PRESENT)
    this.#lookedAt = options.now()
    try {
      this.#present = this.#open()
    } catch (error) {
      throw new InputError(
        `The journal ${this.#path} cannot be written (${reasonOf(error)}). Repair it, or choose another --data-dir.`,
      )
    }
  }

  /** Appends an entry in one write, so that a killed process loses no earlier entry. It never throws. */
  write(entry: Entry): void {
    const { now } = this.#options
    const isLookDue = now() - this.#lookedAt >= JOURNAL_RETRY_MS
    if (this.#dropped > 0 && !isLookDue) {
      this.#dropped++
      return
    }
    if (isLookDue) this.#lookedAt = now()
    try {
      if (isLookDue) this.#lookAgain()
      this.#append(entry)
    } catch (error) {
      this.#lookedAt = now()
      if (this.#dropped++ > 0) return
      this.#options.tell(
        `the journal ${this.#path} cannot be written (${reasonOf(error)}): the node goes on, and drops journal records until they can be written. Free space on that disk.`,
      )
    }
  }

  /** Closes the file. Tells how many records were dropped since the last one that was written. */
  close(): void {
    if (this.#dropped > 0) this.#options.tell(`${this.#dropped} journal records were dropped`)
    this.#closeFile()
  }

  #append(entry: Entry): void {
    this.#present ??= this.#open()
    const { maxBytes = JOURNAL_BYTES } = this.#options
    if (this.#present.bytes > maxBytes / PARTS) this.#rotate()
    if (this.#dropped > 0) this.#endGap(entry)
    this.#put(this.#present!.writer.textOf(entry))
  }

  /** Says in the file, and then at the terminal, how many records are missing. */
  #endGap({ at }: Entry): void {
    this.#putHead()
    const message = `${this.#dropped} journal records were dropped; now they are written again`
    this.#put(textOf({ type: 'notice', at, message }))
    this.#dropped = 0
    this.#options.tell(message)
  }

  #putHead(): void {
    this.#put(textOf({ type: 'file', peer: this.#options.peer }))
  }

  #put(text: string): void {
    const present = this.#present!
    const line = Buffer.from(text)
    const written = writeSync(present.file, line)
    if (written === line.length) {
      present.bytes += written
      return
    }
    // A full disk takes part of a line. The next line must not continue it.
    ftruncateSync(present.file, present.bytes)
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
  }

  /** Opens the file anew if its path leads elsewhere: somebody has deleted it, or its folder. */
  #lookAgain(): void {
    if (this.#present === null || inodeAt(this.#path) === this.#present.inode) return
    const { folder, restore, tell } = this.#options
    this.#closeFile()
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    restore?.()
    this.#present = this.#open()
    tell(
      `${this.#path} was deleted while this peer runs: the folder ${folder} is made again, and the journal begins anew. Do not delete the data directory of a running peer.`,
    )
  }

  #open(): Present {
    const file = openSync(this.#path, 'a+', 0o600)
    const { size, ino } = fstatSync(file)
    this.#present = { file, inode: ino, bytes: size, writer: new LineWriter() }
    // A process that was killed, or a full disk, may have left a torn line.
    if (isTorn(file, size)) this.#put('\n')
    this.#putHead()
    return this.#present
  }

  /** The present file is full: another one begins, and what is oldest goes into the history. */
  #rotate(): void {
    const { folder, peer, maxBytes = JOURNAL_BYTES } = this.#options
    const numbers = fullFiles(folder)
    const through = throughOf(folder)
    const number = Math.max(numbers.at(-1) ?? 0, through) + 1
    renameSync(this.#path, join(folder, nameOf(number)))
    this.#closeFile()
    this.#present = this.#open()
    const old = numbers.filter((each) => each > through)
    // A history that cannot be written, for whatever reason, must not let the files pile up.
    if (old.length <= PARTS && old.length > 0) {
      const history = linesIn(join(folder, HISTORY)).filter(({ type }) => type !== 'file')
      const kept = old.flatMap((each) => keptOf(linesIn(join(folder, nameOf(each)))))
      const lines = thinned([...history, ...kept], (maxBytes * 2) / PARTS)
      const head: FileLine = { type: 'file', peer, through: old.at(-1)! }
      replaceFile(join(folder, HISTORY), [head, ...lines].map(textOf).join(''))
    }
    for (const each of numbers) rmSync(join(folder, nameOf(each)), { force: true })
  }

  #closeFile(): void {
    const present = this.#present
    this.#present = null
    if (present !== null) closeSync(present.file)
  }
}

/**
 * All entries that the journal in a folder has, in their order. A roster has the members' addresses left out.
 * @returns an empty list if there is no journal
 */
export function readJournal(folder: string): Entry[] {
  const through = throughOf(folder)
  const full = fullFiles(folder).filter((number) => number > through)
  return [HISTORY, ...full.map(nameOf), PRESENT].flatMap((name) => {
    const reader = new LineReader()
    return linesIn(join(folder, name)).flatMap((line) => reader.entryOf(line) ?? [])
  })
}

/** Number of the last full file whose entries the history has taken over. */
function throughOf(folder: string): number {
  const [head] = linesIn(join(folder, HISTORY), HEAD_BYTES)
  return head?.type === 'file' ? (head.through ?? 0) : 0
}

/** @param length bytes that are read; undefined for the whole file */
function linesIn(path: string, length?: number): Line[] {
  let file: number
  try {
    file = openSync(path, 'r')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
  let text: string
  try {
    text = length === undefined ? readFileSync(file, 'utf8') : start(file, length)
  } finally {
    closeSync(file)
  }
  return text.split('\n').flatMap((line) => lineOf(line) ?? [])
}

/** Numbers of the full files, the oldest first. */
function fullFiles(folder: string): number[] {
  const numbers = readdirSync(folder).flatMap((name) => FULL.exec(name)?.[1] ?? [])
  return numbers.map(Number).sort((a, b) => a - b)
}

function nameOf(number: number): string {
  return `journal.${number}.jsonl`
}

function start(file: number, length: number): string {
  const bytes = Buffer.alloc(length)
  return bytes.toString('utf8', 0, readSync(file, bytes, 0, length, 0))
}

function inodeAt(path: string): number | null {
  try {
    return statSync(path).ino
  } catch {
    return null
  }
}

function isTorn(file: number, size: number): boolean {
  const last = Buffer.alloc(1)
  return size > 0 && readSync(file, last, 0, 1, size - 1) === 1 && last.toString() !== '\n'
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
