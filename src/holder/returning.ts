/**
 * Continues a run of which every process ended. Peers that started again and find no member ask each other what is on
 * their disks. The one with the smallest peer id founds a new incarnation of the run, from the step that loses least.
 */

import { askAfresh } from '../../protocols/ask-afresh.ts'
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import {
  ABSENT_MAX,
  type Contact,
  type IncarnationRecord,
  type Lineage,
} from '../../protocols/incarnation.ts'
import { encodeRoster, ROSTER_BYTES, type Roster } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { comeBack, decodeOffer, encodeOffer, OTHERS_MAX, offer } from '../../protocols/return.ts'
import { sha256 } from '../../protocols/weights.ts'
import type { KnownMembers } from '../base/known-members.ts'
import { FOUNDING_CONTACTS_MAX, RETURNERS_MAX, TIMEOUTS } from '../base/limits.ts'
import type { DiskUpkeep } from '../checkpoint/disk-upkeep.ts'
import { absentFrom, branchesBefore, contactOf, incarnationId } from '../membership/incarnation.ts'
import { coordinatorOf, memberOf, type RosterSource } from '../membership/roster.ts'
import { type RunContext, serveRun } from '../membership/serve-run.ts'
import type { UndecidedPeers } from '../membership/undecided.ts'
import type { Run } from '../run/run.ts'
import { founderOf, planReturn, type Returner, type ReturnPlan } from './return-plan.ts'

export interface ReturningOptions extends RunContext {
  readonly run: Run
  readonly clock: Clock
  readonly domain?: string
  readonly disk: DiskUpkeep
  readonly undecided: UndecidedPeers
  readonly knownMembers: KnownMembers
  readonly rosters: RosterSource
  /** True while this peer is in no roster. */
  isOutside(): boolean
  session(): number
  /** The roster that this peer is in; null while it is in none. */
  roster(): Standing | null
  /** This peer continues in an incarnation whose first roster names it. */
  incarnate(lineage: Lineage, roster: Roster): void
}

type Standing = Pick<Roster, 'committed' | 'epoch'>

/** A peer outside that answered, and when. */
interface Heard {
  readonly addresses: readonly string[]
  readonly at: number
}

export class Returning {
  readonly #options: ReturningOptions
  /** Peers outside that have answered lately, or that others named. */
  readonly #heard = new Map<PeerId, Heard>()
  /** What there is to continue with, and since when it is the same. */
  #present = { key: '', since: 0 }
  #isFounding = false
  /** Peers of another founding of the run, which the next incarnation is to meet. */
  #othersFounded: readonly Contact[] = []
  #told = ''

  constructor(options: ReturningOptions) {
    this.#options = options
  }

  /** Begins to serve. @returns one function for each service, which ends it */
  serve(): (() => void)[] {
    const { rosters } = this.#options
    return [
      serveRun(this.#options, offer, { serve: (from) => this.#answer(from) }),
      serveRun(this.#options, comeBack, {
        accept: (_, __, length) => {
          if (length <= ROSTER_BYTES) return new Uint8Array(length)
          throw new ProtocolError('TOO_LARGE', `a roster of ${length} bytes`)
        },
        serve: async (from, { lineage }, body) => {
          this.#accept(from, lineage, rosters.decode(from, body), sha256(body ?? ''))
          return { answer: {} }
        },
      }),
    ]
  }

  /**
   * Tries until this peer is in a roster again; a peer without a disk does not. Rejects when the signal aborts.
   * @param leastMs for how long at least what came back must be the same before the run continues from it
   */
  async run(signal: AbortSignal, leastMs = 0): Promise<void> {
    const { clock, disk } = this.#options
    this.#present = { key: '', since: clock.now() }
    this.#told = ''
    if (!disk.isThere) return
    await disk.scanned
    while (this.#isSearching) {
      await clock.sleep(TIMEOUTS.returnPauseMs, signal)
      await this.#attempt(signal, leastMs)
    }
  }

  /**
   * Tells whether a roster is of a founding of the run that knows nothing of the steps on this peer's disk. To enter it
   * would give these steps up. The epochs of one history only grow.
   */
  async isBegunAnew(roster: Roster): Promise<boolean> {
    await this.#options.disk.scanned
    if (this.#goesOn(roster)) return false
    this.#othersFounded = roster.members.slice(0, FOUNDING_CONTACTS_MAX).map(contactOf)
    return true
  }

  /** True if a run that has come this far may have the steps that this peer's disk remembers. */
  #goesOn({ committed, epoch }: Standing): boolean {
    const { history } = this.#options.disk.offer()
    if (history === null || committed >= history.roster.committed) return true
    return committed > 0 && epoch >= history.roster.epoch
  }

  /** True if this peer was in the run before, and is in no roster now. */
  get #isSearching(): boolean {
    const { undecided, isOutside } = this.#options
    return isOutside() && undecided.claim === 'never'
  }

  async #answer(from: PeerId) {
    const { network, disk, undecided, session, roster, domain = '' } = this.#options
    const isOutside = this.#isSearching
    if (isOutside) {
      undecided.hear(from, 'never')
      await disk.scanned
    }
    const others = [...this.#heard]
      .filter(([peer, { addresses }]) => peer !== from && addresses.length > 0)
      .map(([peer, { addresses }]) => ({ peer, addresses: addresses.slice(0, 4) }))
    const answer = {
      isOutside,
      committed: roster()?.committed ?? 0,
      epoch: roster()?.epoch ?? 0,
      session: session(),
      addresses: [...network.addresses],
      domain,
      others: isOutside ? others.slice(0, OTHERS_MAX) : [],
    }
    return isOutside ? { answer, body: encodeOffer(disk.offer()) } : { answer }
  }

  /** Asks all that may be outside, and founds if this peer is the one to do it and it is time. */
  async #attempt(signal: AbortSignal, leastMs: number): Promise<void> {
    const { run, runId, network, clock } = this.#options
    const answers = await this.#ask(signal)
    if (!this.#isSearching || signal.aborted) return
    // A member of a roster answered: the run goes on there.
    if (answers === 'alive') {
      this.#present = { key: '', since: clock.now() }
      return
    }
    const all = [this.#own(), ...answers]
    const plan = planReturn(run, runId, all)
    const key = JSON.stringify([all.map(({ peer }) => peer).sort(), plan?.found.step])
    if (key !== this.#present.key) this.#present = { key, since: clock.now() }
    if (plan === null || founderOf(all.map(({ peer }) => peer)) !== network.self) return
    if (plan.found.refused.length > 0) return this.#tellRefused(plan)
    const patience = Math.max(leastMs, patienceFor(plan))
    if (clock.now() - this.#present.since >= patience) await this.#found(plan, signal)
  }

  #own(): Returner {
    const { network, disk, session, domain = '' } = this.#options
    const { self: peer, addresses } = network
    return { peer, session: session(), addresses: [...addresses], domain, ...disk.offer() }
  }

  /** The peers outside that answer; `alive` if a peer answers that is in a roster. */
  async #ask(signal: AbortSignal): Promise<Returner[] | 'alive'> {
    const { network, clock, undecided, knownMembers } = this.#options
    const known = knownMembers.list()
    for (const { peer, addresses } of known) network.learn(peer, addresses)
    const recent = [...this.#heard].filter(([, { at }]) => clock.now() - at <= TIMEOUTS.undecidedMs)
    const peers = [undecided.peers, recent.map(([peer]) => peer), known.map(({ peer }) => peer)]
    const asked = [...new Set(peers.flat())].filter((peer) => peer !== network.self)
    const answers = await Promise.all(
      asked.slice(0, RETURNERS_MAX).map((peer) => this.#askOne(peer, signal).catch(() => null)),
    )
    if (answers.includes('alive')) return 'alive'
    return answers.filter((answer) => answer !== null && answer !== 'alive')
  }

  async #askOne(peer: PeerId, signal: AbortSignal): Promise<Returner | 'alive' | null> {
    const { network, runId: run, clock } = this.#options
    let body: Uint8Array | undefined
    const options = {
      timeoutMs: TIMEOUTS.rosterMs,
      signal,
      accept: (_: unknown, length: number) => {
        if (length > ROSTER_BYTES) throw new ProtocolError('TOO_LARGE', `${length} bytes`)
        body = new Uint8Array(length)
        return body
      },
    }
    const answer = await askAfresh(network, peer, offer, { run }, options)
    const { isOutside, session, addresses, domain, others } = answer
    if (!isOutside) return this.#goesOn(answer) && answer.committed > 0 ? 'alive' : null
    const at = clock.now()
    this.#heard.set(peer, { addresses, at })
    for (const other of others) {
      if (other.peer === network.self || this.#heard.has(other.peer)) continue
      network.learn(other.peer, other.addresses)
      if (this.#heard.size < RETURNERS_MAX) this.#heard.set(other.peer, { addresses: [], at })
    }
    return { peer, session, addresses, domain, ...decodeOffer(peer, body) }
  }

  /** Names the peers that are missing, once. */
  #tellRefused({ found, absent }: ReturnPlan): void {
    const { journal } = this.#options
    const missing = absent.map(({ peer }) => peer).join(', ')
    const reason =
      `the disks of the peers that came back do not bring back ${found.refused.join('; ')}: ` +
      `start the others again (${missing || 'none is known'})`
    if (reason === this.#told) return
    this.#told = reason
    journal.write({ type: 'waiting', stages: [], reason: reason.slice(0, 2000) })
  }

  async #found(plan: ReturnPlan, signal: AbortSignal): Promise<void> {
    const { network, runId: run } = this.#options
    const { roster } = plan
    const body = encodeRoster(roster)
    const lineage = nextLineage(run, plan, sha256(body), this.#othersFounded)
    const options = { timeoutMs: TIMEOUTS.rosterMs, signal, body }
    this.#isFounding = true
    try {
      const others = roster.members.filter(({ peer }) => peer !== network.self)
      // A peer that cannot be told is lost to the new incarnation, and joins it later.
      await Promise.all(
        others.map(({ peer }) =>
          ask(network, peer, comeBack, { run, lineage }, options).catch(() => {}),
        ),
      )
      if (this.#isSearching && !signal.aborted) this.#enter(lineage, roster, plan)
    } finally {
      this.#isFounding = false
    }
  }

  /** @throws ProtocolError REFUSED if this peer is in a roster, or is to found itself */
  #accept(from: PeerId, lineage: Lineage, roster: Roster, digest: string): void {
    const { network, session } = this.#options
    const refuse = (reason: string): never => {
      throw new ProtocolError('REFUSED', reason)
    }
    if (!this.#isSearching) refuse('this peer does not search for the run')
    if (this.#isFounding || from > network.self) refuse('this peer is to found the incarnation')
    if (lineage.record?.roster !== digest) refuse('its record is of another roster')
    if (coordinatorOf(roster).peer !== from) refuse(`${from} does not coordinate it`)
    const own = memberOf(roster, network.self)
    if (own?.session !== session()) refuse('its roster does not name this process')
    this.#enter(lineage, roster, null)
  }

  /** @param plan null for a peer that does not found */
  #enter(lineage: Lineage, roster: Roster, plan: ReturnPlan | null): void {
    const { journal, incarnate, runId } = this.#options
    journal.write({
      type: 'returned',
      id: incarnationId(runId, lineage.record),
      ancestor: lineage.record!.ancestor,
      number: lineage.record!.number,
      step: roster.committed,
      founder: coordinatorOf(roster).peer,
      members: roster.members.map(({ peer }) => peer),
      missing: plan?.found.missing ?? null,
      absent: lineage.absent.map(({ peer }) => peer),
    })
    incarnate(lineage, roster)
  }
}

/** Time for which what came back must be the same, in milliseconds. */
function patienceFor({ isWhole, absent }: ReturnPlan): number {
  if (!isWhole) return TIMEOUTS.returnMs
  return absent.length > 0 ? TIMEOUTS.undecidedMs : 0
}

function nextLineage(
  runId: string,
  { history, roster }: ReturnPlan,
  digest: string,
  met: readonly Contact[],
): Lineage {
  const { record } = history.lineage
  const next: IncarnationRecord = {
    number: (record?.number ?? 0) + 1,
    ancestor: incarnationId(runId, record),
    step: roster.committed,
    roster: digest,
  }
  const absent = absentFrom(roster, history.roster, history.lineage.absent)
  const others = met.filter(({ peer }) => absent.every((contact) => contact.peer !== peer))
  return {
    record: next,
    absent: [...others, ...absent].slice(0, ABSENT_MAX),
    branches: branchesBefore(next.ancestor, history.lineage, roster.committed),
  }
}
