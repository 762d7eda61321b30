/**
 * Keeps copies of other members' stages in memory, for the recovery of a lost stage. A copy leaves when another member
 * keeps its stage and the copy is too old to be of use, and when the run has gone back to before its step.
 */
import {
  COPIES_LISTED_MAX,
  type CopyName,
  copy,
  type KeepQuestion,
  keep,
  kept,
} from '../../protocols/copies.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Roster } from '../../protocols/membership.ts'
import { checkHash, type StateFacts, sha256 } from '../../protocols/weights.ts'
import { COPY_GENERATIONS, KEPT_BYTES_MAX } from '../base/limits.ts'
import { type RunContext, serveRun } from '../membership/serve-run.ts'
import { rowsOf } from '../recovery/index.ts'
import type { CopyRule } from '../recovery/strategy.ts'
import type { Run } from '../run/run.ts'

/** A copy that is complete. */
export interface KeptBytes {
  readonly name: CopyName
  readonly facts: StateFacts
  readonly bytes: Uint8Array
}

/** A copy that is complete or being received. */
interface Copy extends KeptBytes {
  /** Bytes that were received, from the start. */
  received: number
}

/** States on this peer's disk. */
export interface KeptOnDisk {
  readonly copies: readonly CopyName[]
  /** A chunk of a state. @throws ProtocolError STALE if it is not here, WRONG_SHAPE */
  read(
    name: CopyName,
    offset: number,
    length: number,
  ): Promise<{ answer: StateFacts & { sha256: string }; body: Uint8Array }>
}

/** The copies of one strategy, stage and shard number. */
interface Shelf {
  /** Complete copies, the latest first. */
  complete: readonly Copy[]
  incoming: Copy | null
}

export class Keeper {
  readonly #shelves = new Map<string, Shelf>()
  /** Rules of the run's copies, by strategy. */
  readonly #rules: ReadonlyMap<string, CopyRule>
  /** True for a stage whose copies of this strategy this member is to keep, by the last roster. */
  #keeps: (strategy: string, stage: number) => boolean = () => true

  readonly #bytesMax: number

  /** @param bytesMax bound of the memory for all copies, in bytes */
  constructor({ recovery, stages }: Pick<Run, 'recovery' | 'stages'>, bytesMax = KEPT_BYTES_MAX) {
    this.#bytesMax = bytesMax
    this.#rules = new Map(
      rowsOf(recovery.policy).flatMap(({ name, copies }) =>
        copies === undefined ? [] : [[name, copies(recovery, stages)]],
      ),
    )
  }

  /** Memory for a piece of a copy. @throws ProtocolError if it does not follow the piece before, or memory is full */
  accept(question: KeepQuestion, length: number): Uint8Array {
    const { strategy, stage, shard, offset, bytes } = question
    const rule = this.#rules.get(strategy)
    if (!rule?.applies(stage) || shard >= rule.shards.data + rule.shards.parity) {
      throw new ProtocolError('REFUSED', `${nameOf(question)}: the policy has no such copy`)
    }
    if (offset + length > bytes || length === 0) {
      throw new ProtocolError(
        'WRONG_SHAPE',
        `${nameOf(question)}: piece ${offset}+${length} of ${bytes} bytes`,
      )
    }
    if (offset === 0) this.#begin(question)
    const incoming = this.#shelves.get(keyOf(question))?.incoming
    if (
      incoming?.name.step !== question.step ||
      incoming.bytes.length !== bytes ||
      incoming.received !== offset
    ) {
      throw new ProtocolError(
        'STALE',
        `${nameOf(question)}: the piece at ${offset} does not follow what is here`,
      )
    }
    return incoming.bytes.subarray(offset, offset + length)
  }

  /** Takes in a piece that was received. @throws ProtocolError CORRUPT, or STALE if another copy has begun */
  keep(question: KeepQuestion, piece: Uint8Array | undefined): void {
    const shelf = this.#shelves.get(keyOf(question))
    const incoming = shelf?.incoming
    if (piece === undefined || shelf === undefined || incoming?.bytes.buffer !== piece.buffer) {
      throw new ProtocolError('STALE', `${nameOf(question)}: another copy has begun`)
    }
    checkHash(nameOf(question), piece, question.sha256)
    incoming.received = question.offset + piece.length
    if (incoming.received < incoming.bytes.length) return
    shelf.incoming = null
    // The shards of one step need each other. The set before stays until all shards of this step must have come.
    shelf.complete = [incoming, ...shelf.complete].slice(0, COPY_GENERATIONS)
  }

  /** The run rolled back to `step`. Copies of later steps belong to the abandoned branch, so they are dropped. */
  forgetAfter(step: number): void {
    for (const shelf of this.#shelves.values()) shelf.incoming = null
    this.#retain(({ name }) => name.step <= step)
  }

  /**
   * This member follows a new roster. Drops copies that are too old and that another member has to keep. A copy stays
   * until then, because the other member may not have its own yet.
   */
  follow(roster: Roster, ownId: number): void {
    this.#keeps = (strategy, stage) =>
      this.#rules
        .get(strategy)!
        .keepers(roster, stage)
        .some(({ id }) => id === ownId)
    this.#retain(({ name: { strategy, stage, step } }) => {
      const isRecent = roster.committed - step <= this.#rules.get(strategy)!.maxAge(stage)
      return isRecent || this.#keeps(strategy, stage)
    })
  }

  /** The run goes on without this member, which does not know whether its copies belong to the run any more. */
  clear(): void {
    this.#shelves.clear()
  }

  /** Number of copies, by strategy, stage and shard, for which there is an entry. */
  get shelves(): number {
    return this.#shelves.size
  }

  /** All complete copies. */
  get complete(): KeptBytes[] {
    return [...this.#shelves.values()].flatMap(({ complete }) => complete)
  }

  /** Names of all complete copies. */
  get copies(): CopyName[] {
    return this.complete.map(({ name }) => name)
  }

  /** True if the complete copy of this name is here. */
  has(name: CopyName): boolean {
    const complete = this.#shelves.get(keyOf(name))?.complete ?? []
    return complete.some((each) => each.name.step === name.step)
  }

  /** A chunk of a complete copy. @throws ProtocolError STALE if it is not kept here, WRONG_SHAPE */
  read(name: CopyName, offset: number, length: number) {
    const shelf = this.#shelves.get(keyOf(name))
    const found = shelf?.complete.find((each) => each.name.step === name.step)
    if (found === undefined) throw new ProtocolError('STALE', `${nameOf(name)} is not kept here`)
    if (offset + length > found.bytes.length) {
      throw new ProtocolError('WRONG_SHAPE', `${nameOf(name)} has ${found.bytes.length} bytes`)
    }
    const body = found.bytes.slice(offset, offset + length)
    return { answer: { ...found.facts, sha256: sha256(body) }, body }
  }

  /** Makes room for a copy and begins it. @throws ProtocolError TOO_LARGE if there is no room */
  #begin(question: KeepQuestion): void {
    const { strategy, stage, step, shard, norm, updates, learningRateScale, bytes } = question
    const known = this.#shelves.get(keyOf(question))
    if (known !== undefined) known.incoming = null
    // Copies that another member has to keep give way.
    if (this.#taken + bytes > this.#bytesMax) {
      this.#retain(({ name }) => this.#keeps(name.strategy, name.stage))
    }
    const taken = this.#taken + bytes
    if (taken > this.#bytesMax) {
      throw new ProtocolError(
        'TOO_LARGE',
        `${nameOf(question)}: ${taken} bytes of copies here would be more than ${this.#bytesMax}`,
      )
    }
    const incoming = {
      name: { strategy, stage, step, shard },
      facts: { norm, updates, learningRateScale },
      bytes: new Uint8Array(bytes),
      received: 0,
    }
    const complete = this.#shelves.get(keyOf(question))?.complete ?? []
    this.#shelves.set(keyOf(question), { complete, incoming })
  }

  /** Bytes of all copies here, complete or not. */
  get #taken(): number {
    let taken = 0
    for (const { complete, incoming } of this.#shelves.values()) {
      for (const each of complete) taken += each.bytes.length
      taken += incoming?.bytes.length ?? 0
    }
    return taken
  }

  /** Keeps only these copies. */
  #retain(isKept: (copy: Copy) => boolean): void {
    for (const [key, shelf] of this.#shelves) {
      shelf.complete = shelf.complete.filter(isKept)
      if (shelf.incoming !== null && !isKept(shelf.incoming)) shelf.incoming = null
      if (shelf.complete.length === 0 && shelf.incoming === null) this.#shelves.delete(key)
    }
  }
}

function keyOf({ strategy, stage, shard }: CopyName): string {
  return `${strategy}/${stage}/${shard}`
}

function nameOf({ strategy, stage, step, shard }: CopyName): string {
  return `${strategy} copy of stage ${stage} after step ${step}, shard ${shard}`
}

/**
 * Serves members that keep copies here or fetch them. @returns one function for each service, which ends it
 * @param disk what this peer has on its disk, which others fetch in the same way
 * @param here what the member has beside the copies. The understudy's state is listed with them, but fetched as a stage's
 * state
 */
export function serveCopies(
  context: RunContext,
  keeper: Keeper,
  disk: KeptOnDisk,
  here: { understudied(): readonly CopyName[]; rebuilding(): number | null },
): (() => void)[] {
  return [
    serveRun(context, keep, {
      accept: (_, question, length) => keeper.accept(question, length),
      serve: async (_, question, body) => {
        keeper.keep(question, body)
        return { answer: {} }
      },
    }),
    serveRun(context, kept, {
      serve: async () => {
        const onDisk = disk.copies.filter((name) => !keeper.has(name))
        const copies = [...keeper.copies, ...onDisk, ...here.understudied()]
        const latest = copies.toSorted((a, b) => b.step - a.step).slice(0, COPIES_LISTED_MAX)
        return { answer: { copies: latest, rebuilding: here.rebuilding() } }
      },
    }),
    serveRun(context, copy, {
      serve: async (_, { offset, length, run: __, ...name }) => {
        return keeper.has(name)
          ? keeper.read(name, offset, length)
          : disk.read(name, offset, length)
      },
    }),
  ]
}
