/** One process of a field test, and what its journal says of it. */
import type { Roster } from '../../protocols/membership.ts'
import type { Entry } from '../../src/base/journal.ts'

export type EntryOf<Type extends Entry['type']> = Extract<Entry, { type: Type }>

export class FieldPeer {
  /** Name of the machine. A process with the same name has the same disk. */
  readonly name: string
  readonly entries: Entry[] = []
  /** Everything that the process printed beside its journal. */
  readonly messages: string[] = []
  /** Exit code or signal; null while the process runs. */
  exit: number | NodeJS.Signals | null = null
  isFrozen = false
  #pid = 0
  #signal: (pid: number, signal: NodeJS.Signals) => void

  constructor(name: string, signal: (pid: number, signal: NodeJS.Signals) => void) {
    this.name = name
    this.#signal = signal
  }

  get pid(): number {
    return this.#pid
  }

  started(pid: number): void {
    this.#pid = pid
  }

  get isLive(): boolean {
    return this.exit === null
  }

  /** Peer id; '' until the process has written its first entry. */
  get id(): string {
    return this.last('started')?.peer ?? ''
  }

  get addresses(): readonly string[] {
    return this.last('started')?.addresses ?? []
  }

  /** True if the last entry about this says that the process is in the run. */
  get isMember(): boolean {
    const last = this.entries.findLast(({ type }) => MEMBERSHIP.has(type))
    return last !== undefined && last.type !== 'dropped'
  }

  /** Last step that this process reported as made or as committed; 0 before the first. */
  get step(): number {
    const entry = this.entries.findLast(({ type }) => type === 'step' || type === 'committed')
    return (entry as EntryOf<'step'> | undefined)?.step ?? 0
  }

  /** Last roster that the process journaled as coordinator. */
  get roster(): Roster | null {
    return this.last('roster')?.roster ?? null
  }

  last<Type extends Entry['type']>(type: Type): EntryOf<Type> | undefined {
    return this.entries.findLast((entry): entry is EntryOf<Type> => entry.type === type)
  }

  all<Type extends Entry['type']>(type: Type): EntryOf<Type>[] {
    return this.entries.filter((entry): entry is EntryOf<Type> => entry.type === type)
  }

  /** True if a message or a reason of the process matches. */
  says(pattern: RegExp): boolean {
    return this.texts().some((text) => pattern.test(text))
  }

  /** Messages of the process, with the journal's entries as text. */
  texts(): string[] {
    return [...this.messages, ...this.entries.map((entry) => JSON.stringify(entry))]
  }

  kill(): void {
    this.signal('SIGKILL')
    this.exit = 'SIGKILL'
  }

  freeze(): void {
    this.isFrozen = true
    this.signal('SIGSTOP')
  }

  thaw(): void {
    this.isFrozen = false
    this.signal('SIGCONT')
  }

  signal(signal: NodeJS.Signals): void {
    this.#signal(this.#pid, signal)
  }
}

/** Entries that say whether a process is in the run. */
const MEMBERSHIP: ReadonlySet<string> = new Set(['founded', 'joined', 'elected', 'dropped'])
