/** What becomes of a member, in order, for whoever waits for it. */
import type { Ballot, Roster, Successor } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'

/** How the run ended for this peer. */
export interface Finished {
  readonly committed: number
  readonly failure: string | null
  /** It was told to go, and has left before the end with its stage in other hands: no failure. */
  readonly left?: boolean
}

/** A process that goes on in the run which its own became. */
export interface Start {
  /** What was agreed on there; null for one that was no member, and asks to be let in. */
  readonly roster: Roster | null
  readonly session: number
}

export type MemberEvent =
  /** Named in a roster for the first time. */
  | { readonly type: 'admitted'; readonly coordinator: PeerId }
  /** The roster names it as the coordinator, under a ballot that no other roster had before. */
  | { readonly type: 'elected'; readonly ballot: Ballot }
  /** The swarm goes on without it. */
  | { readonly type: 'dropped'; readonly reason: string }
  | ({ readonly type: 'finished' } & Finished)
  /** The run goes on with fewer stages, as another. */
  | {
      readonly type: 'resharded'
      /** Usually one; for a newcomer that has missed some, one after another. */
      readonly successors: readonly Successor[]
      readonly start: Start
      /** The last step that was made; null for a newcomer. */
      readonly committed: number | null
      readonly reason: string
    }

export class MemberEvents {
  readonly #turns: MemberEvent[] = []
  #turned = Promise.withResolvers<void>()
  #next: Promise<MemberEvent> | null = null

  add(turn: MemberEvent): void {
    this.#turns.push(turn)
    this.#turned.resolve()
  }

  next(): Promise<MemberEvent> {
    // One promise for all who wait: none of them takes a turn away from the others.
    if (this.#next !== null) return this.#next
    const next = this.#take()
    this.#next = next
    // Before whoever waits for it goes on, and asks for the one after it.
    void next.then(() => {
      this.#next = null
    })
    return next
  }

  async #take(): Promise<MemberEvent> {
    for (;;) {
      const turn = this.#turns.shift()
      if (turn !== undefined) return turn
      this.#turned = Promise.withResolvers()
      await this.#turned.promise
    }
  }
}
