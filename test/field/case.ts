/** A case of the field tests: one fault, played with real processes, and its expected outcome. */
import type { Lan } from './lan.ts'
import type { FieldSettings, FieldSwarm } from './swarm.ts'

/** What a case needs of the machine beside Node. */
export type Need = 'root' | 'nft'

export interface FieldCase {
  readonly name: string
  /** The expected outcome in one sentence. */
  readonly outcome: string
  /** True for a case that takes more than two minutes. `--short` leaves it out. */
  readonly isLong?: boolean
  readonly needs?: readonly Need[]
  /** What is missing for the outcome. Only `--only` plays such a case; otherwise it is shown as skipped, with this text. */
  readonly open?: string
  /** @throws if the outcome is another one */
  play(field: Field): Promise<void>
}

/** The means of a case. What they start and make is ended and removed after the case. */
export interface Field {
  /** Folder of the case. It is kept if the case fails. */
  readonly folder: string
  /** A swarm without processes. */
  swarm(settings?: FieldSettings): Promise<FieldSwarm>
  /** Hosts in network namespaces on one bridge. */
  lan(hosts: number): Lan
  /** Mounts a file system in memory. Gives its path. */
  smallDisk(name: string, bytes: number): string
  /** Ends with the case. */
  onEnd(end: () => void): void
  /** Adds a figure to the line of the case. */
  note(text: string): void
}

/** Throws an error with this text unless the condition holds. */
export function must(condition: boolean, text: string): asserts condition {
  if (!condition) throw new Error(text)
}
