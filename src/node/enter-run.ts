/** Entering a run: a peer founds the run, or finds a member and waits for its admission. */
import { askAfresh } from '../../protocols/ask-afresh.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { type Claim, hello } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { InputError } from '../base/errors.ts'
import type { KnownMember } from '../base/known-members.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { Member } from '../holder/member.ts'
import { fetchRoster } from '../membership/agreement.ts'
import { type EnterLimits, RunIsOver } from '../membership/discovery.ts'
import type { MemberEvent } from '../membership/member-events.ts'
import { memberOf } from '../membership/roster.ts'
import type { NodeOptions } from './node-options.ts'

const NO_ADDRESS =
  'this machine has none of the addresses of --listen any more, so no peer could reach this one: restart it with --listen /ip4/0.0.0.0/tcp/PORT'

/** Number of peers that one request for admission asks in turn. Each but the last refers to its coordinator. */
const REFERRALS_MAX = 4

/** Longest reason in the journal, in characters. */
const REASON_LENGTH = 2_000

/**
 * Founds the run, or is admitted by its coordinator. Gives the first event after that.
 * @param stopped resolves when the node has to stop
 * @param claim how much this peer may found the run
 * @param through a peer that is in the run, to be asked before all others
 */
export async function enterRun(
  member: Member,
  options: NodeOptions,
  stopped: Promise<MemberEvent>,
  claim: Claim,
  through?: KnownMember,
): Promise<MemberEvent> {
  const { clock } = options
  member.undecided.claim = claim
  // A coordinator may admit this peer although its answer was lost. The event ends the search.
  const nextEvent = Promise.race([member.next(), stopped])
  const over = new AbortController()
  // A process that was in a roster until now has left others there: it looks for them before it continues without them.
  const leastMs = member.hasBeenIn ? TIMEOUTS.undecidedMs : 0
  if (claim === 'never') void member.returning.run(over.signal, leastMs).catch(() => {})
  const members = [...(through ? [through] : []), ...member.knownMembers.list()]
  const until = clock.now() + TIMEOUTS.strandedMs
  try {
    for (;;) {
      const found = await Promise.race([nextEvent, search(member, options, members, over.signal)])
      if (typeof found === 'string') {
        const admitted = await awaitAdmission(member, options, nextEvent, found)
        if (admitted !== null) return admitted
        continue
      }
      if (found !== null) return found
      if (member.undecided.claim !== 'never') {
        foundRun(member, options)
        return nextEvent
      }
      if (clock.now() > until) return ended('no peer of the run has let this peer in')
      const early = await Promise.race([nextEvent, clock.sleep(TIMEOUTS.retryMs)])
      if (early !== undefined) return early
    }
  } finally {
    over.abort(new Error('this peer does not search any more'))
    forgetOthers(member, options, [
      ...members.map(({ peer }) => peer),
      ...member.undecided.remembered,
    ])
  }
}

/** Forgets the addresses of these peers unless they are in the roster. */
function forgetOthers({ roster }: Member, { network }: NodeOptions, peers: Iterable<PeerId>): void {
  if (roster === null) return
  for (const peer of peers) if (memberOf(roster, peer) === undefined) network.forget(peer)
}

/** Searches once. Gives the coordinator, null if the search found nobody, or the event that ends the run for this peer. */
async function search(
  member: Member,
  options: NodeOptions,
  members: readonly KnownMember[],
  signal: AbortSignal,
): Promise<PeerId | MemberEvent | null> {
  const { run, journal } = options
  const { undecided } = member
  const enter = (peer: PeerId, limits: EnterLimits = { signal, timeoutMs: TIMEOUTS.helloMs }) => {
    signal.throwIfAborted()
    return requestAdmission(member, options, peer, limits)
  }
  const tell = (message: string) =>
    journal.write({ type: 'waiting', stages: [], reason: message.slice(0, REASON_LENGTH) })
  try {
    return await options.discover(enter, { signal, undecided, members, tell })
  } catch (error) {
    if (error instanceof RunIsOver) {
      return { type: 'finished', committed: run.steps, failure: null }
    }
    // The peer was in the run before, so that its user did nothing wrong.
    if (error instanceof InputError && undecided.claim === 'never') return ended(error.message)
    throw error
  }
}

function ended(failure: string): MemberEvent {
  return { type: 'finished', committed: 0, failure }
}

function foundRun(member: Member, { journal }: NodeOptions): void {
  member.found()
  journal.write({ type: 'founded' })
  if (member.committed > 0) {
    const message = `the swarm continues after step ${member.committed}`
    journal.write({ type: 'notice', message })
  }
}

/**
 * Waits until a roster names this peer, which happens between two steps. Asks again every `admissionMs`, since a new
 * coordinator may not know of this peer.
 * @returns the event that ended the wait; null if no coordinator admits this peer any more
 */
async function awaitAdmission(
  member: Member,
  options: NodeOptions,
  nextEvent: Promise<MemberEvent>,
  welcomedBy: PeerId,
): Promise<MemberEvent | null> {
  const { clock, journal, network } = options
  const over = new AbortController()
  let coordinator = welcomedBy
  let lost = Promise.withResolvers<void>()
  const removeLost = network.onLost((peer) => {
    if (peer === coordinator) lost.resolve()
  })
  try {
    for (;;) {
      const pause = clock.sleep(TIMEOUTS.admissionMs, over.signal).then(
        () => null,
        () => null,
      )
      const event = await Promise.race([nextEvent, lost.promise.then(() => null), pause])
      if (event !== null) return event
      lost = Promise.withResolvers()
      const limits = { signal: over.signal, timeoutMs: TIMEOUTS.admissionMs }
      const asked = requestAdmission(member, options, coordinator, limits)
      const answer = await Promise.race([nextEvent, asked])
      if (answer === null) return null
      if (typeof answer !== 'string') return answer
      coordinator = answer
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    const message = `${coordinator} was lost before it let this peer in: ${error.message}`
    journal.write({ type: 'notice', message })
    return null
  } finally {
    removeLost()
    over.abort()
  }
}

/**
 * Asks for admission, first the given peer and then the coordinator to which it refers. Gives the coordinator; null if
 * the peer cannot name one.
 */
async function requestAdmission(
  member: Member,
  { network, clock, runId, wish, domain = '', resume }: NodeOptions,
  contact: PeerId,
  limits: EnterLimits,
): Promise<PeerId | null> {
  const { undecided } = member
  let asked = contact
  // One referral leads to the coordinator. More are needed only while the coordinator changes.
  for (let referrals = 0; referrals < REFERRALS_MAX; referrals++) {
    member.belief.asksToEnter(asked)
    if (await isBegunAnew(member, { network, runId }, asked, limits)) return null
    const { session } = member
    const addresses = [...network.addresses]
    // The roster would name an address that is gone, and every peer that needs this one would wait for it.
    if (addresses.length === 0) throw new ProtocolError('UNREACHABLE', NO_ADDRESS)
    const { claim } = undecided
    const resumes = resume !== undefined
    const { id: incarnation } = member.incarnation
    const about = { addresses, session, domain, stage: wish, resumes, claim, incarnation }
    const answer = await askAfresh(network, asked, hello, { run: runId, ...about }, limits)
    if (answer.result === 'later' && answer.claim !== null) {
      undecided.hear(asked, answer.claim)
      return null
    }
    undecided.forget(asked)
    switch (answer.result) {
      case 'welcome':
        // To found a run of which steps are committed would split it.
        if (answer.committed > 0) undecided.claim = 'never'
        return asked
      case 'later':
        return null
      case 'ask':
        network.learn(answer.coordinator, answer.addresses)
        asked = answer.coordinator
        break
      case 'moved':
        limits.signal.throwIfAborted()
        member.incarnation.enter(answer.lineage)
        break
      case 'resharded':
        limits.signal.throwIfAborted()
        member.resharded(asked, answer.successors)
        return asked
      default:
        answer satisfies never
    }
  }
  await clock.sleep(TIMEOUTS.retryMs, limits.signal)
  return null
}

/** Tells whether a peer is in a founding of the run that knows nothing of the steps on this peer's disk. */
async function isBegunAnew(
  member: Member,
  { network, runId }: Pick<NodeOptions, 'network' | 'runId'>,
  peer: PeerId,
  { signal }: EnterLimits,
): Promise<boolean> {
  if (member.undecided.claim !== 'never') return false
  // A peer in no roster does not answer, and a peer that cannot be reached fails below in any case.
  const known = await fetchRoster({ network, runId, signal }, peer).catch(() => null)
  return known !== null && member.returning.isBegunAnew(known.roster)
}
