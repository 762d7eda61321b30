/** The queue of events that change a member's role in the run. */
import type { Ballot, Roster, Successor } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { KnownMember } from '../base/known-members.ts'

/** The end of the run for this peer. */
export interface Finished {
  /** Last committed step. */
  readonly committed: number
  /** Reason of a failure; null if there was none. */
  readonly failure: string | null
  /** True if the peer left before the end of the run and handed over its stage. */
  readonly left?: boolean
}

/** The start of a node in the successor of its run. */
export interface Start {
  /** First roster of the successor; null for a peer that was not a member and has to ask for admission. */
  readonly roster: Roster | null
  readonly session: number
}

/** A change of a member's role in the run. */
export type MemberEvent =
  /** A roster names this peer for the first time. */
  | { readonly type: 'admitted'; readonly coordinator: PeerId }
  /** The roster names this peer as the coordinator, under a new ballot. */
  | { readonly type: 'elected'; readonly ballot: Ballot }
  /** The roster does not name this peer any more. */
  | {
      readonly type: 'dropped'
      readonly reason: string
      /** A peer that is in the run; undefined if nobody told of one. */
      readonly through?: KnownMember | undefined
    }
  | ({ readonly type: 'finished' } & Finished)
  /** The run continues as another run with fewer stages. */
  | {
      readonly type: 'resharded'
      /** Usually one successor; several in their order for a newcomer that has missed some. */
      readonly successors: readonly Successor[]
      readonly start: Start
      /** Last committed step; null for a newcomer. */
      readonly committed: number | null
      readonly reason: string
    }

/** The events of one member, in their order. */
export class MemberEvents {
  readonly #events: MemberEvent[] = []
  #added = Promise.withResolvers<void>()
  #next: Promise<MemberEvent> | null = null

  add(event: MemberEvent): void {
    this.#events.push(event)
    this.#added.resolve()
  }

  /** Takes the next event. All callers that wait at the same time get the same event. */
  next(): Promise<MemberEvent> {
    if (this.#next !== null) return this.#next
    const next = this.#take()
    this.#next = next
    // Registered before the callers' own continuations, so that their next call takes the event after this one.
    void next.then(() => {
      this.#next = null
    })
    return next
  }

  async #take(): Promise<MemberEvent> {
    for (;;) {
      const event = this.#events.shift()
      if (event !== undefined) return event
      this.#added = Promise.withResolvers()
      await this.#added.promise
    }
  }
}
