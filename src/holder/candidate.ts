/** Asks for the place of a lost coordinator, and does what comes of it. */
import type { Clock } from '../../protocols/clock.ts'
import type { PeerId } from '../../protocols/network.ts'
import type { Journal } from '../base/journal.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { MemberEvents } from '../membership/member-events.ts'
import { missingOf, outlook } from '../membership/minority.ts'
import { takeOver } from '../membership/succession.ts'
import type { Run } from '../run/run.ts'
import type { Founding } from './founding.ts'
import type { RosterFollower } from './roster-follower.ts'

export interface CandidateOptions {
  readonly run: Run
  readonly clock: Clock
  readonly journal: Journal
  readonly signal: AbortSignal
  readonly follower: RosterFollower
  readonly events: MemberEvents
  readonly founding: Founding
}

export class Candidate {
  readonly #options: CandidateOptions
  /** The last refusal in the journal. The same refusal is not journaled again. */
  #journaled = ''

  constructor(options: CandidateOptions) {
    this.#options = options
  }

  /** Tries once. @param lostMs for how long there has been no coordinator, as far as this member knows */
  async tryToTakeOver(reason: string, lostMs: number): Promise<void> {
    const { follower, signal } = this.#options
    const { own } = follower
    if (own === undefined) return
    const outcome = await takeOver(follower.agreement(signal), own, reason)
    switch (outcome.result) {
      case 'elected':
      case 'overtaken':
        return
      case 'removed':
        return follower.drop(`epoch ${outcome.epoch} does not name this peer`)
      case 'behind':
        return this.#catchUp(outcome.peers, lostMs)
      case 'refused':
        return this.#refused(
          `${reason}; nobody can take over: ${outcome.reason}`,
          lostMs,
          outcome.answering,
        )
    }
  }

  /** Asks those that say they know more, until one of them does. If none does, there is still no coordinator. */
  async #catchUp(peers: readonly PeerId[], lostMs: number): Promise<void> {
    const { follower, founding } = this.#options
    const known = follower.roster
    for (const peer of peers) {
      if (follower.roster === known && known !== null) await follower.catchUp(peer)
    }
    if (follower.roster === known && known !== null) await founding.consider(lostMs)
  }

  /** @param answering ids of the members that answered; null if a majority did */
  async #refused(
    reason: string,
    lostMs: number,
    answering: ReadonlySet<number> | null,
  ): Promise<void> {
    const { run, clock, journal, signal, follower, events, founding } = this.#options
    const { roster } = follower
    const missing =
      roster === null || answering === null ? '' : ` (missing: ${missingOf(roster, answering)})`
    const message = `${reason}. Without a majority${missing} this peer neither commits nor recovers anything. ${outlook(run)}`
    if (message !== this.#journaled) {
      journal.write({ type: 'waiting', stages: [], reason: message.slice(0, 2000) })
    }
    this.#journaled = message
    const committed = roster?.committed ?? 0
    // A member that was not told of the end of the run finds no other member any more.
    if (committed === run.steps) events.add({ type: 'finished', committed, failure: null })
    else if (lostMs > TIMEOUTS.strandedMs) {
      events.add({ type: 'finished', committed, failure: message })
    } else await founding.consider(lostMs)
    return clock.sleep(TIMEOUTS.campaignMs, signal)
  }
}
