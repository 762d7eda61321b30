/**
 * Finds a member of the run. A search asks the members that this peer knew last, then the bootstrap addresses, the peers
 * of this machine by the data directory, and the peers that mDNS sees. It asks again until a coordinator admits this peer,
 * this peer has to found the run, or a deadline passes.
 */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { InputError } from '../base/errors.ts'
import type { KnownMember } from '../base/known-members.ts'
import { TIMEOUTS, UNDECIDED_MAX } from '../base/limits.ts'
import { shortName } from '../base/peer-name.ts'
import { firstAnswer } from './first-answer.ts'
import type { UndecidedPeers } from './undecided.ts'

/** Asks a peer for admission. Gives the coordinator, or null if the peer cannot name one. */
export type Enter = (peer: PeerId, limits?: EnterLimits) => Promise<PeerId | null>

/** When one question for admission ends. */
export interface EnterLimits {
  readonly signal: AbortSignal
  /** Deadline of each peer that is asked, in milliseconds. */
  readonly timeoutMs: number
}

/** What a node that enters a run tells its search. */
export interface Seeking {
  /** Aborts when the search is not needed any more. */
  readonly signal: AbortSignal
  /** The peers that search, too, and the claim of this one. */
  readonly undecided: UndecidedPeers
  /** Members that this peer knew last. */
  readonly members: readonly KnownMember[]
  /** Tells people whom the search asks, and what failed. */
  tell(message: string): void
}

/** Options of the search for peers of the run. */
export interface DiscoveryOptions extends Seeking {
  readonly network: Network
  readonly clock: Clock
  readonly bootstrap: readonly string[]
  /** Addresses of the peers of this machine that are in the run. Their processes live. */
  addressBook(): readonly string[]
  /** True if the run has ended meanwhile, so that no peer of it can be found. */
  isOver(): boolean
  /** Claims to be the founder of the run on this machine. False if a live process has made the claim. */
  claimFounder(): boolean
}

/** Thrown when the run ends while a peer searches for its members. */
export class RunIsOver extends Error {
  override readonly name = 'RunIsOver'
}

/** Shortest and longest pause between two rounds of questions, in milliseconds. */
const PAUSE_MS = { first: 200, last: 2_000 } as const

/** Time after which one more peer is asked while no answer has come, in milliseconds. */
const STAGGER_MS = 250

/**
 * Largest factor of the deadlines and of `STAGGER_MS`. Many processes that start at once on a busy machine take long for
 * each connection. With fixed deadlines none of them would get through, and all would begin again at the same moment.
 */
const PATIENCE_MAX = 4

/** Shortest and longest time after which a peer that mDNS saw is asked again, in milliseconds. */
const AGAIN_MS = { first: 2_000, last: 16_000 } as const

/** Failures that one message lists. */
const FAILURES_TOLD = 8

/** Errors that are no sign of life. */
const SILENT: ReadonlySet<string> = new Set(['UNREACHABLE', 'TIMEOUT', 'PEER_LOST'])

/** When a peer is asked again that need not be in the run. */
interface Turn {
  readonly at: number
  readonly pauseMs: number
}

/** A peer that a search asks. */
interface Target {
  /** Name for people. */
  readonly name: string
  /** Address, if the peer is known by its address only. */
  readonly address?: string
  readonly peer?: PeerId
}

/**
 * Finds a peer of the run and asks it for admission. Gives the coordinator; null if this peer founds the run.
 * @throws InputError if nobody admits this peer in time; the message names whom it asked, and what failed
 * @throws RunIsOver if the run ends meanwhile
 * @throws ProtocolError WRONG_RUN or REFUSED if the run refuses this peer
 */
export function discover(options: DiscoveryOptions, enter: Enter): Promise<PeerId | null> {
  return new Search(options, enter).run()
}

class Search {
  readonly #options: DiscoveryOptions
  readonly #enter: Enter
  /** Bootstrap addresses without those of this peer. */
  readonly #bootstrap: readonly string[]
  /** Peers that mDNS has seen, and others that search. */
  readonly #seen = new Map<PeerId, Turn>()
  /** Factor of the deadlines. It doubles after each round in which a peer did not answer in time. */
  #patience = 1
  /** What failed in this round, by the name of the target. */
  readonly #failures = new Map<string, string>()
  /** Bootstrap addresses whose peers were in no roster in this round. */
  readonly #undecidedAt = new Set<string>()
  readonly #startMs: number
  /** Time of the last sign that a peer of the run lives. */
  #aliveMs: number
  #tellMs: number
  /** True if a peer that is in the run answered in this round, but could not name its coordinator. */
  #isRunSeen = false
  /** What this peer waits for, while others have to act first. */
  #awaited = ''
  /** Bootstrap addresses that shut this peer out once. A peer that was just about to end looks the same. */
  readonly #shutOutAt = new Set<string>()

  constructor(options: DiscoveryOptions, enter: Enter) {
    this.#options = options
    this.#enter = enter
    const { network, clock, bootstrap, members } = options
    const own = [network.self, ...network.addresses]
    this.#bootstrap = bootstrap.filter((address) => !own.some((mine) => isSame(address, mine)))
    this.#startMs = clock.now()
    this.#aliveMs = this.#startMs
    this.#tellMs = this.#startMs + TIMEOUTS.firstTellMs
    for (const { peer, addresses } of members) network.learn(peer, addresses)
  }

  async run(): Promise<PeerId | null> {
    const { network, clock, signal, isOver } = this.#options
    const removeFound = network.onFound((peer) => {
      this.#see(peer)
    })
    try {
      for (let pause: number = PAUSE_MS.first; ; pause = Math.min(2 * pause, PAUSE_MS.last)) {
        if (isOver()) throw new RunIsOver('the run is over')
        const coordinator = await this.#round()
        if (coordinator !== null) return coordinator
        if (this.#founds()) return null
        this.#giveUpInTime()
        this.#tell()
        await clock.sleep(pause, signal)
      }
    } finally {
      removeFound()
    }
  }

  get #claim() {
    return this.#options.undecided.claim
  }

  get #waitedMs(): number {
    return this.#options.clock.now() - this.#startMs
  }

  async #round(): Promise<PeerId | null> {
    const { clock, signal } = this.#options
    this.#failures.clear()
    this.#undecidedAt.clear()
    this.#isRunSeen = false
    const asking = { clock, signal, staggerMs: STAGGER_MS * this.#patience }
    let isLate = false
    const coordinator = await firstAnswer(asking, [...this.#targets()], async (target, either) => {
      const { code, answer } = await this.#ask(target, either)
      isLate ||= code === 'TIMEOUT'
      return answer
    })
    if (isLate) this.#patience = Math.min(2 * this.#patience, PATIENCE_MAX)
    return coordinator
  }

  #see(peer: PeerId): void {
    if (this.#seen.has(peer) || this.#seen.size >= UNDECIDED_MAX) return
    this.#seen.set(peer, { at: this.#options.clock.now(), pauseMs: AGAIN_MS.first })
  }

  *#targets(): Iterable<Target> {
    const { members, network, clock, undecided, addressBook } = this.#options
    for (const { peer, addresses } of members) {
      const places = addresses.slice(0, 2).map(withoutPeer)
      yield { name: `${shortName(peer)} at ${places.join(', ') || 'no address'}`, peer }
    }
    for (const address of this.#bootstrap) yield { name: withoutPeer(address), address }
    const local = addressBook()
    for (const address of local) yield { name: withoutPeer(address), address }
    // The peers of this machine are in the run, so that there is no need to ask who else might be.
    if (local.length > 0) return this.#isAlive()
    for (const peer of undecided.peers) this.#see(peer)
    const leader = undecided.leader?.peer
    const asked = new Set([network.self, ...members.map(({ peer }) => peer)])
    const now = clock.now()
    for (const [peer, { at, pauseMs }] of this.#seen) {
      if (asked.has(peer) || (now < at && peer !== leader)) continue
      const later = Math.min(2 * pauseMs, AGAIN_MS.last)
      this.#seen.set(peer, { at: now + pauseMs, pauseMs: later })
      yield { name: `${shortName(peer)} on this network`, peer }
    }
  }

  /** Asks one peer. A failure is noted, unless the run refuses this peer. */
  async #ask(
    target: Target,
    signal: AbortSignal,
  ): Promise<{ answer: PeerId | null; code: string | null }> {
    const { network, undecided } = this.#options
    const { name, address } = target
    let { peer } = target
    try {
      if (peer === undefined) {
        const timeoutMs = TIMEOUTS.connectMs * this.#patience
        peer = await network.connect(address!, { timeoutMs, signal })
        this.#isAlive()
      }
      const answer = await this.#enter(peer, {
        signal,
        timeoutMs: TIMEOUTS.helloMs * this.#patience,
      })
      this.#isAlive()
      if (answer !== null) return { answer, code: null }
      if (!undecided.heardWithin(peer, TIMEOUTS.undecidedMs)) this.#isRunSeen = true
      else if (address !== undefined) this.#undecidedAt.add(address)
      this.#failures.set(name, 'it is not in the run yet')
      return { answer, code: null }
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof ProtocolError) || this.#isFinal(error, target)) throw error
      if (!SILENT.has(error.code)) this.#isAlive()
      this.#failures.set(name, reasonOf(error, address ?? `peer ${peer}`))
      return { answer: null, code: error.code }
    }
  }

  #isAlive(): void {
    this.#aliveMs = this.#options.clock.now()
  }

  /** True for an error that asking again does not mend. A peer of another run at an old address proves nothing. */
  #isFinal({ code }: ProtocolError, { address }: Target): boolean {
    if (code === 'REFUSED') return true
    if (code !== 'WRONG_RUN' || address === undefined) return false
    const isAgain = this.#shutOutAt.has(address)
    this.#shutOutAt.add(address)
    return isAgain && this.#bootstrap.includes(address) && this.#options.members.length === 0
  }

  /** Decides whether this peer founds the run now. */
  #founds(): boolean {
    const { undecided, addressBook, claimFounder } = this.#options
    this.#awaited = ''
    if (this.#claim === 'never' || this.#waitedMs < TIMEOUTS.discoveryMs) return false
    // Bootstrap addresses say that the run exists elsewhere, unless the peers there search as well.
    if (this.#isRunSeen || !this.#bootstrap.every((at) => this.#undecidedAt.has(at))) return false
    const { leader } = undecided
    if (leader !== null) {
      const whose = `peer ${shortName(leader.peer)}`
      this.#awaited =
        leader.claim === 'never'
          ? `${whose} was in this run before and searches for it, so this peer does not start the run again: --anew does`
          : `${whose} is to found the run`
      return false
    }
    if (addressBook().length === 0 && claimFounder()) return true
    this.#isAlive()
    this.#awaited = 'another process with this data directory is in the run, or founds it'
    return false
  }

  /** @throws InputError when the deadline of this search has passed */
  #giveUpInTime(): void {
    const { clock } = this.#options
    const isFirstJoin = this.#claim !== 'never' && this.#bootstrap.length > 0
    const silentMs = clock.now() - this.#aliveMs
    if (this.#waitedMs < TIMEOUTS.strandedMs) {
      if (!isFirstJoin || silentMs < TIMEOUTS.bootstrapMs) return
    }
    const remedy = isFirstJoin
      ? 'Start the peer there first, or correct --bootstrap.'
      : `Start one of them, or name a member by --bootstrap. ${REMEDY_OF_FORMER}`
    throw new InputError(`${this.#summary()}. ${remedy}`)
  }

  /** Tells every minute how the search goes. */
  #tell(): void {
    const { clock, tell } = this.#options
    if (clock.now() < this.#tellMs) return
    this.#tellMs = clock.now() + TIMEOUTS.searchTellMs
    const leftMs = this.#startMs + TIMEOUTS.strandedMs - clock.now()
    const more =
      this.#claim === 'never'
        ? ` and ends in ${Math.ceil(leftMs / 60_000)} minutes. ${REMEDY_OF_FORMER}`
        : ''
    tell(`${this.#summary()}. This peer asks again${more}`)
  }

  #summary(): string {
    const seconds = Math.round(this.#waitedMs / 1000)
    const failures = [...this.#failures].map(([name, reason]) => `${name}: ${reason}`)
    const told = failures.slice(0, FAILURES_TOLD)
    if (failures.length > told.length) told.push(`and ${failures.length - told.length} more`)
    const asked = told.length > 0 ? told.join('; ') : 'no address of a member is known'
    const awaited = this.#awaited === '' ? '' : `; ${this.#awaited}`
    return `no peer of the run has let this peer in for ${seconds} s (${asked})${awaited}`
  }
}

/** What the user of a peer that was in the run before can do. */
const REMEDY_OF_FORMER =
  '--anew starts the run from its beginning, and --resume starts it from a checkpoint.'

/** True if both addresses lead to the same peer. `mine` is a peer id, or an address that ends in one. */
function isSame(address: string, mine: string): boolean {
  return address === mine || address.endsWith(`/p2p/${mine}`) || mine.startsWith(`${address}/p2p/`)
}

/** An address without the peer id at its end. */
function withoutPeer(address: string): string {
  return address.replace(/\/p2p\/[^/]*$/, '')
}

/** The reason of an error, without the name of the peer at its start. */
function reasonOf({ code, message }: ProtocolError, whom: string): string {
  if (code === 'TIMEOUT') return 'no answer in time'
  const start = `cannot reach ${whom}: `
  return message.startsWith(start) ? message.slice(start.length) : message
}
