/** Entering a run: a peer founds the run, or finds a member and waits for its admission. */
import { ProtocolError } from '../../protocols/errors.ts'
import { hello } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { InputError } from '../base/errors.ts'
import { TIMEOUTS } from '../base/limits.ts'
import type { Member } from '../holder/member.ts'
import { RunIsOver } from '../membership/discovery.ts'
import type { MemberEvent } from '../membership/member-events.ts'
import type { NodeOptions } from './node-options.ts'

const NO_ADDRESS =
  'this machine has none of the addresses of --listen any more, so no peer could reach this one: restart it with --listen /ip4/0.0.0.0/tcp/PORT'

/** Number of peers that one request for admission asks in turn. Each but the last refers to its coordinator. */
const REFERRALS_MAX = 4

/**
 * Founds the run, or is admitted by its coordinator. Gives the first event after that.
 * @param stopped resolves when the node has to stop
 * @param mayFound false for a peer that was in the run before: founding the run again would split it
 */
export async function enterRun(
  member: Member,
  options: NodeOptions,
  stopped: Promise<MemberEvent>,
  mayFound: boolean,
): Promise<MemberEvent> {
  const { clock, journal } = options
  // A coordinator may admit this peer although its answer was lost. The event ends the search.
  const nextEvent = Promise.race([member.next(), stopped])
  const search = () =>
    options.discover((peer) => requestAdmission(member, options, peer)).catch(overOrThrow)
  let founds = mayFound
  let isReported = false
  let searchStart = clock.now()
  for (;;) {
    const found = await Promise.race([nextEvent, founds ? search() : search().catch(nullIfNobody)])
    if (found instanceof RunIsOver) {
      return { type: 'finished', committed: options.run.steps, failure: null }
    }
    if (typeof found !== 'string' && found !== null) return found
    if (found === null && founds) {
      foundRun(member, options)
      return nextEvent
    }
    if (found === null && !isReported) {
      isReported = true
      const reason = 'no peer of the run is reachable: this peer keeps searching'
      journal.write({ type: 'waiting', stages: [], reason })
    }
    founds = false
    if (found !== null) {
      const admitted = await awaitAdmission(member, options, nextEvent, found)
      if (admitted !== null) return admitted
      searchStart = clock.now()
      continue
    }
    const ms = clock.now() - searchStart
    if (ms > TIMEOUTS.strandedMs) {
      const failure = `no peer of the run has let this peer in for ${ms} ms`
      return { type: 'finished', committed: 0, failure }
    }
    const early = await Promise.race([nextEvent, clock.sleep(TIMEOUTS.retryMs)])
    if (early !== undefined) return early
  }
}

function foundRun(member: Member, { journal }: NodeOptions): void {
  member.found()
  journal.write({ type: 'founded' })
  if (member.committed > 0) {
    const message = `the swarm continues after step ${member.committed}`
    journal.write({ type: 'notice', message })
  }
}

function overOrThrow(error: unknown): RunIsOver {
  if (error instanceof RunIsOver) return error
  throw error
}

/** Gives null if no peer answered. A peer that was in the run before keeps searching: the others may answer later. */
function nullIfNobody(error: unknown): null {
  if (error instanceof InputError) return null
  throw error
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
      const answer = await Promise.race([nextEvent, requestAdmission(member, options, coordinator)])
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
 * the peer is not in the run yet.
 */
async function requestAdmission(
  member: Member,
  { network, clock, runId, wish, domain = '', resume }: NodeOptions,
  contact: PeerId,
): Promise<PeerId | null> {
  let asked = contact
  // One referral leads to the coordinator. More are needed only while the coordinator changes.
  for (let referrals = 0; referrals < REFERRALS_MAX; referrals++) {
    const { session } = member
    const addresses = [...network.addresses]
    // The roster would name an address that is gone, and every peer that needs this one would wait for it.
    if (addresses.length === 0) throw new ProtocolError('UNREACHABLE', NO_ADDRESS)
    const resumes = resume !== undefined
    const question = { run: runId, addresses, session, domain, stage: wish, resumes }
    const answer = await ask(network, asked, hello, question, { timeoutMs: TIMEOUTS.helloMs })
    switch (answer.result) {
      case 'welcome':
        return asked
      case 'later':
        return null
      case 'ask':
        network.learn(answer.coordinator, answer.addresses)
        asked = answer.coordinator
        break
      case 'resharded':
        member.resharded(asked, answer.successors)
        return asked
      default:
        answer satisfies never
    }
  }
  await clock.sleep(TIMEOUTS.retryMs)
  return null
}
