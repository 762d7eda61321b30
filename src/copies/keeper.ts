/** The copies of other members' stages that this one keeps in memory, for when their holders are lost. */
import { type CopyName, copy, type KeepQuestion, keep, kept } from '../../protocols/copies.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { checkHash, type StateFacts, sha256 } from '../../protocols/weights.ts'
import { COPY_GENERATIONS, KEPT_BYTES_MAX } from '../base/limits.ts'
import { memberOf } from '../membership/roster.ts'
import { type RunContext, serveRun } from '../membership/serve-run.ts'

/** A copy, whole or on its way. */
interface Copy {
  readonly name: CopyName
  readonly facts: StateFacts
  readonly bytes: Uint8Array
  /** Bytes that are here. */
  received: number
}

/** What is kept under one name but for the step. */
interface Shelf {
  /** Complete ones, the latest first. */
  complete: readonly Copy[]
  incoming: Copy | null
}

export class Keeper {
  readonly #shelves = new Map<string, Shelf>()

  /** Where a piece of a copy goes. @throws ProtocolError if it does not follow the one before, or is too much */
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

  /** Takes the piece in that was received. */
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
    // Shards of one step are of no use without each other: those before stay until the whole set must be there.
    shelf.complete = [incoming, ...shelf.complete].slice(0, COPY_GENERATIONS)
  }

  /** The steps after this one are given up, and will be made again: what is kept of them is of no use with what will be. */
  forgetAfter(step: number): void {
    for (const shelf of this.#shelves.values()) {
      shelf.complete = shelf.complete.filter(({ name }) => name.step <= step)
      shelf.incoming = null
    }
  }

  get copies(): CopyName[] {
    return [...this.#shelves.values()].flatMap(({ complete }) => complete.map(({ name }) => name))
  }

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
 * Lets members keep copies here, and fetch them. Gives what ends that.
 * @param understudied stages of which the whole state is here: told of with the copies, but given as a donor gives it
 */
export function serveCopies(
  context: RunContext,
  keeper: Keeper,
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
        return { answer: { copies: [...keeper.copies, ...understudied()] } }
      },
    }),
    serveRun(context, copy, {
      serve: async (from, { offset, length, run: _, ...name }) => {
        memberIn(from)
        return keeper.read(name, offset, length)
      },
    }),
  ]
}
