/**
 * The incarnation of the run that this peer is in. Its id takes the place of the run's id in all messages between members,
 * so that members of different incarnations refuse each other's messages. This happens in one place, on the way to the
 * network and back. All other code knows the run's id only.
 */
import { compareFoundings } from '../../protocols/founding.ts'
import {
  ABSENT_MAX,
  BRANCHES_MAX,
  type Branch,
  CONTACT_ADDRESSES,
  type Contact,
  gather,
  type IncarnationRecord,
  incarnate,
  type Lineage,
  meet,
  supersede,
} from '../../protocols/incarnation.ts'
import { hello, type Member, type Roster, roster } from '../../protocols/membership.ts'
import type { Handler, Json, Network, PeerId, Received } from '../../protocols/network.ts'
import { comeBack, offer } from '../../protocols/return.ts'
import { sha256 } from '../../protocols/weights.ts'
import { Deposed } from './agreement.ts'
import { memberOf } from './roster.ts'

/** Protocols that name the run, and not the incarnation: their askers may be in another incarnation, or in none. */
const OF_THE_RUN: ReadonlySet<string> = new Set(
  [hello, compareFoundings, roster, gather, incarnate, meet, supersede, offer, comeBack].map(
    ({ protocol }) => protocol,
  ),
)

/** The incarnation in which a run is founded. */
export const FIRST: Lineage = { record: null, absent: [], branches: [] }

/** Id of an incarnation: that of the run for the first, else the SHA-256 of the run's id and the record. */
export function incarnationId(runId: string, record: IncarnationRecord | null): string {
  if (record === null) return runId
  const { number, ancestor, step, roster } = record
  return sha256(JSON.stringify([runId, number, ancestor, step, roster]))
}

/** A peer, and the addresses of it that fit a message about many peers. */
export function contactOf({ peer, addresses }: Pick<Member, 'peer' | 'addresses'>): Contact {
  const { count, length } = CONTACT_ADDRESSES
  return { peer, addresses: addresses.filter((each) => each.length <= length).slice(0, count) }
}

/**
 * The members of a roster that are not in the founding roster of the next incarnation, and those that were missing before,
 * the latest first.
 */
export function absentFrom(
  founding: Roster,
  before: Roster,
  earlier: readonly Contact[],
): Contact[] {
  const distinct = new Map<PeerId, Contact>()
  for (const contact of [...before.members.map(contactOf), ...earlier]) {
    const isKnown = distinct.has(contact.peer) || memberOf(founding, contact.peer) !== undefined
    if (!isKnown && distinct.size < ABSENT_MAX) distinct.set(contact.peer, contact)
  }
  return [...distinct.values()]
}

/** The branches before the incarnation that is founded from `step` of the one with this id and lineage. */
export function branchesBefore(id: string, { branches }: Lineage, step: number): Branch[] {
  return [...branches, { id, until: step }].slice(1 - BRANCHES_MAX)
}

/** What is compared when two incarnations meet. */
export interface Standing {
  readonly incarnation: string
  /** Last committed step. */
  readonly committed: number
}

/** True if the first of two incarnations stays when they meet: that with more steps, or the smaller id among equals. */
export function stays(one: Standing, other: Standing): boolean {
  if (one.committed !== other.committed) return one.committed > other.committed
  return one.incarnation < other.incarnation
}

/** Number of steps of the first incarnation that the other one does not have. */
export function lostSteps(over: Standing & { lineage: Lineage }, stays: Lineage): number {
  const founded = [over.lineage, stays].flatMap(({ record }) => record?.step ?? [])
  return over.committed - Math.min(over.committed, ...founded)
}

/** The incarnation that one peer is in. It changes when the peer founds one, or enters another. */
export class Incarnation {
  readonly #runId: string
  #lineage: Lineage
  #id: string

  constructor(runId: string, lineage: Lineage = FIRST) {
    this.#runId = runId
    this.#lineage = lineage
    this.#id = incarnationId(runId, lineage.record)
  }

  get id(): string {
    return this.#id
  }

  /** 0 for the incarnation in which the run was founded. */
  get number(): number {
    return this.#lineage.record?.number ?? 0
  }

  get lineage(): Lineage {
    return this.#lineage
  }

  /** This peer is in the incarnation of this lineage from now on. */
  enter(lineage: Lineage): void {
    this.#lineage = lineage
    this.#id = incarnationId(this.#runId, lineage.record)
  }

  /** A network whose messages between members name the incarnation in place of the run. */
  over(network: Network): Network {
    const outward = (header: Json) => this.#exchange(header, this.#runId, this.#id)
    return {
      ...network,
      self: network.self,
      get addresses() {
        return network.addresses
      },
      handle: (protocol, handler) =>
        network.handle(protocol, OF_THE_RUN.has(protocol) ? handler : this.#inward(handler)),
      call: (peer, protocol, message, options) =>
        OF_THE_RUN.has(protocol)
          ? network.call(peer, protocol, message, options)
          : network.call(peer, protocol, { ...message, header: outward(message.header) }, options),
    }
  }

  /**
   * A network for work that belongs to the present incarnation. Work that goes on after this peer has entered another one
   * sends nothing between members: its rosters and ballots would go out under the id of the other incarnation.
   * @param network a network that `over` made
   */
  within(network: Network): Network {
    const id = this.#id
    return {
      ...network,
      self: network.self,
      get addresses() {
        return network.addresses
      },
      call: async (peer, protocol, message, options) => {
        if (this.#id !== id && !OF_THE_RUN.has(protocol)) {
          throw new Deposed(null, 'this peer is in another incarnation of the run now')
        }
        return network.call(peer, protocol, message, options)
      },
    }
  }

  /** A handler that knows the run's id only. A message of another incarnation reaches it under another name. */
  #inward({ accept, handle }: Handler): Handler {
    // A header is the same object for both functions, so that it is checked once. While its body comes, this peer may enter
    // another incarnation. Then the header is read anew.
    const known = new WeakMap<object, { readonly id: string; readonly mapped: Json }>()
    const inward = (header: unknown): Json => {
      if (typeof header !== 'object' || header === null) return header as Json
      const { run } = header as { run?: unknown }
      if (this.#id === this.#runId) return header as Json
      const foreign =
        run === this.#runId ? `its earlier incarnation, before number ${this.number}` : run
      const seen = known.get(header)
      if (seen?.id === this.#id) return seen.mapped
      const mapped = { ...header, run: run === this.#id ? this.#runId : foreign } as Json
      known.set(header, { id: this.#id, mapped })
      return mapped
    }
    return {
      ...(accept && {
        accept: (from, header, length) => accept(from, inward(header), length),
      }),
      handle: (from, message: Received) =>
        handle(from, { ...message, header: inward(message.header) }),
    }
  }

  #exchange(header: Json, from: string, to: string): Json {
    if (from === to || typeof header !== 'object' || header === null || Array.isArray(header)) {
      return header
    }
    return header.run === from ? { ...header, run: to } : header
  }
}
