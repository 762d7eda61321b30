/** The journal of a real node: a file, the terminal, and the marks in the data directory that follow from entries. */
import type { Clock } from '../../protocols/clock.ts'
import { markOver, markTookPart, type Slot } from '../base/data-dir.ts'
import { createJournal, type Entry, type Journal } from '../base/journal.ts'
import { JournalFile } from '../base/journal-file.ts'
import { JOURNAL_RETRY_MS, REFUSALS_A_SECOND } from '../base/limits.ts'
import type { Terminal } from '../base/terminal.ts'
import type { Run } from '../run/run.ts'
import { RunView } from './view.ts'

export interface LocalJournalOptions {
  readonly run: Run
  readonly runId: string
  readonly dataDir: string
  readonly slot: Slot
  readonly peer: string
  /** Addresses that the peers of this machine may dial, once this peer is in the run. */
  readonly addresses: readonly string[]
  readonly clock: Clock
  readonly terminal: Terminal
  /** Bound of the journal's files, in bytes; undefined for the default. */
  readonly maxBytes?: number | undefined
}

type Sink = (entry: Entry) => void

/** Longest reason of a refused question, in characters. A stranger chooses its length. */
const REFUSAL_LENGTH = 300

/** Journal entries by which a peer becomes a member of a run. */
const ENTERS: ReadonlySet<Entry['type']> = new Set(['founded', 'joined', 'elected'])

/** Opens the journal. A fault of the disk is told at the terminal and never thrown. @throws InputError at the start only */
export function openLocalJournal(options: LocalJournalOptions): {
  journal: Journal
  /** Records that a step was committed while this process was a member. */
  tookPart(): void
  close(): void
} {
  const { slot, peer, clock, terminal, run, maxBytes } = options
  const print = printer(terminal, run)
  const now = () => clock.now()
  const tell = (message: string) => print({ at: now(), peer, type: 'notice', message })
  const marks = new Marks(options, tell)
  const file = new JournalFile({
    folder: slot.path,
    peer,
    maxBytes,
    now,
    tell,
    restore: () => {
      slot.restore()
      marks.restore()
    },
  })
  const write = limited((entry) => {
    file.write(entry)
    print(entry)
  })
  const journal = createJournal(peer, now, [write, (entry) => marks.note(entry)])
  return { journal, tookPart: () => marks.tookPart(), close: () => file.close() }
}

/** Files that say what this peer is, and that the run has had a step. One that cannot be written is tried again at a later entry. */
class Marks {
  readonly #options: LocalJournalOptions
  readonly #tell: (message: string) => void
  #isMember = false
  #tookPart = false
  /** What is still to be written, by the name that the person at the terminal reads. */
  readonly #due = new Map<string, () => void>()
  #failedAt = Number.NEGATIVE_INFINITY
  #isTold = false

  constructor(options: LocalJournalOptions, tell: (message: string) => void) {
    this.#options = options
    this.#tell = tell
  }

  note(entry: Entry): void {
    const { run, runId, dataDir, clock } = this.#options
    const { type } = entry
    // Other peers search for members only, so that addresses are published after the admission.
    if (ENTERS.has(type)) this.#publish()
    if (type === 'finished' && entry.failure === null && entry.committed === run.steps) {
      this.#due.set('over', () => markOver(dataDir, runId))
    }
    const isEnd = type === 'finished'
    if (this.#due.size === 0) return
    if (!isEnd && clock.now() - this.#failedAt < JOURNAL_RETRY_MS) return
    this.#write()
  }

  tookPart(): void {
    if (this.#tookPart) return
    this.#markTookPart()
    this.#write()
  }

  /** The folder was deleted and made again. */
  restore(): void {
    if (this.#isMember) this.#publish()
    if (this.#tookPart) this.#markTookPart()
    this.#write()
  }

  #publish(): void {
    const { slot, addresses } = this.#options
    this.#isMember = true
    this.#due.set('addresses.json', () => slot.publish(addresses))
  }

  #markTookPart(): void {
    const { dataDir, runId } = this.#options
    this.#tookPart = true
    this.#due.set('took-part', () => markTookPart(dataDir, runId))
  }

  #write(): void {
    const { slot, clock } = this.#options
    for (const [name, work] of this.#due) {
      try {
        work()
        this.#due.delete(name)
      } catch (error) {
        this.#failedAt = clock.now()
        if (this.#isTold) continue
        this.#isTold = true
        this.#tell(
          `${name} cannot be written for ${slot.path} (${(error as Error).message}): the node goes on, and tries again. Free space on that disk.`,
        )
      }
    }
    if (this.#due.size === 0) this.#isTold = false
  }
}

/** Cuts and counts what a stranger could fill the disk and the terminal with. */
function limited(sink: Sink): Sink {
  let second = 0
  let written = 0
  let unwritten = 0
  return (entry) => {
    if (entry.type !== 'refused') return sink(entry)
    const now = Math.floor(entry.at / 1000)
    if (now !== second) {
      second = now
      written = 0
    }
    if (++written > REFUSALS_A_SECOND) {
      unwritten++
      return
    }
    sink({
      ...entry,
      reason: entry.reason.slice(0, REFUSAL_LENGTH),
      ...(unwritten > 0 && { unwritten }),
    })
    unwritten = 0
  }
}

/** Prints entries on the terminal. */
function printer(terminal: Terminal, run: Run): Sink {
  const view = new RunView(run.stages + 1)
  return (entry) => {
    terminal.event(entry)
    for (const text of view.show(entry)) terminal.line(text)
  }
}
