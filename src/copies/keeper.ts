/** Keeps copies of other members' stages in memory, for the recovery of a lost stage. */
import { type CopyName, copy, type KeepQuestion, keep, kept } from '../../protocols/copies.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { checkHash, type StateFacts, sha256 } from '../../protocols/weights.ts'
import { COPY_GENERATIONS, KEPT_BYTES_MAX } from '../base/limits.ts'
import { memberOf } from '../membership/roster.ts'
import { type RunContext, serveRun } from '../membership/serve-run.ts'

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

  /** Memory for a piece of a copy. @throws ProtocolError if it does not follow the piece before, or memory is full */
  accept(question: KeepQuestion, length: number): Uint8Array {
    const { offset, bytes } = question
    const shelf = this.#shelf(question)
    if (offset + length > bytes || length === 0) {
      throw new ProtocolError(
        'WRONG_SHAPE',
        `${nameOf(question)}: piece ${offset}+${length} of ${bytes} bytes`,
      )
    }
    if (offset === 0) shelf.incoming = this.#begin(shelf, question)
    const { incoming } = shelf
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
    const shelf = this.#shelf(question)
    const { incoming } = shelf
    if (piece === undefined || incoming?.bytes.buffer !== piece.buffer) {
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
    for (const shelf of this.#shelves.values()) {
      shelf.complete = shelf.complete.filter(({ name }) => name.step <= step)
      shelf.incoming = null
    }
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
    const { complete } = this.#shelf(name)
    return complete.some((each) => each.name.step === name.step)
  }

  /** A chunk of a complete copy. @throws ProtocolError STALE if it is not kept here, WRONG_SHAPE */
  read(name: CopyName, offset: number, length: number) {
    const found = this.#shelf(name).complete.find((each) => each.name.step === name.step)
    if (found === undefined) throw new ProtocolError('STALE', `${nameOf(name)} is not kept here`)
    if (offset + length > found.bytes.length) {
      throw new ProtocolError('WRONG_SHAPE', `${nameOf(name)} has ${found.bytes.length} bytes`)
    }
    const body = found.bytes.slice(offset, offset + length)
    return { answer: { ...found.facts, sha256: sha256(body) }, body }
  }

  #begin(shelf: Shelf, question: KeepQuestion): Copy {
    const { strategy, stage, step, shard, norm, updates, learningRateScale, bytes } = question
    shelf.incoming = null
    let taken = bytes
    for (const { complete, incoming } of this.#shelves.values()) {
      for (const each of complete) taken += each.bytes.length
      taken += incoming?.bytes.length ?? 0
    }
    if (taken > KEPT_BYTES_MAX) {
      throw new ProtocolError(
        'TOO_LARGE',
        `${nameOf(question)}: ${taken} bytes of copies here would be more than ${KEPT_BYTES_MAX}`,
      )
    }
    return {
      name: { strategy, stage, step, shard },
      facts: { norm, updates, learningRateScale },
      bytes: new Uint8Array(bytes),
      received: 0,
    }
  }

  #shelf({ strategy, stage, shard }: CopyName): Shelf {
    const key = `${strategy}/${stage}/${shard}`
    const known = this.#shelves.get(key)
    if (known !== undefined) return known
    const shelf: Shelf = { complete: [], incoming: null }
    this.#shelves.set(key, shelf)
    return shelf
  }
}

function nameOf({ strategy, stage, step, shard }: CopyName): string {
  return `${strategy} copy of stage ${stage} after step ${step}, shard ${shard}`
}

/**
 * Serves members that keep copies here or fetch them. @returns one function for each service, which ends it
 * @param disk what this peer has on its disk, which others fetch in the same way
 * @param understudied names the understudy's state. It is listed with the copies, but fetched as a stage's state
 */
export function serveCopies(
  context: RunContext,
  keeper: Keeper,
  disk: KeptOnDisk,
  roster: () => Roster | null,
  understudied: () => readonly CopyName[],
): (() => void)[] {
  const memberIn = (from: PeerId) => {
    const known = roster()
    const member = known === null ? undefined : memberOf(known, from)
    if (member === undefined) throw new ProtocolError('NOT_MEMBER', `${from} is not in the roster`)
    return member
  }
  return [
    serveRun(context, keep, {
      accept: (from, question, length) => {
        if (memberIn(from).stage !== question.stage) {
          throw new ProtocolError('REFUSED', `${from} does not hold stage ${question.stage}`)
        }
        return keeper.accept(question, length)
      },
      serve: async (_, question, body) => {
        keeper.keep(question, body)
        return { answer: {} }
      },
    }),
    serveRun(context, kept, {
      serve: async (from) => {
        memberIn(from)
        const onDisk = disk.copies.filter((name) => !keeper.has(name))
        return { answer: { copies: [...keeper.copies, ...onDisk, ...understudied()] } }
      },
    }),
    serveRun(context, copy, {
      serve: async (from, { offset, length, run: _, ...name }) => {
        memberIn(from)
        return keeper.has(name)
          ? keeper.read(name, offset, length)
          : disk.read(name, offset, length)
      },
    }),
  ]
}
