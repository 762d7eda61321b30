/** A node: one member of a run, and its coordinator whenever the roster names it. The same in a real and a simulated world. */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { withLoopback } from '../../protocols/loopback.ts'
import { hello, leave } from '../../protocols/membership.ts'
import type { PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { InputError } from '../base/errors.ts'
import { LEAVE_ATTEMPTS, TIMEOUTS } from '../base/limits.ts'
import { Coordinator, HandedOver } from '../coordinator/coordinator.ts'
import { Resharded } from '../coordinator/resharding.ts'
import { train } from '../coordinator/train.ts'
import { Member, type MemberOptions } from '../holder/member.ts'
import { Deposed } from '../membership/agreement.ts'
import { type Enter, RunIsOver } from '../membership/discovery.ts'
import type { Finished, MemberEvent } from '../membership/member-events.ts'
import { coordinatorOf, holdersOf } from '../membership/roster.ts'
import { inSuccessor, type OpenSuccessor, regroup } from './successor-run.ts'

/** Why a node is to go, and how much time it has. */
export interface Farewell {
  readonly reason: string
  /** Until when its stage must be in other hands; null goes as soon as it is clear that nobody can take it. */
  readonly withinMs: number | null
}

export interface NodeOptions extends MemberOptions {
  /** The stage that this peer insists on; null takes the one that needs a holder most. */
  readonly wish: number | null
  /** Finds someone of the run who lets this peer in and gives the coordinator; null founds the run. */
  discover(enter: Enter): Promise<PeerId | null>
  /** False for a peer that was in the run before: a second beginning would split it. True if left out. */
  readonly mayFound?: boolean
  /** After so long with too few members the run goes on with fewer stages, if this peer coordinates it; never if left out. */
  readonly reshardAfterMs?: number | undefined
  /** What this peer needs to go on in that run; without it, it ends there. */
  readonly goOn?: OpenSuccessor | undefined
  /** Where the run ends, if this peer coordinates it. */
  readonly lastStep: number
  /** Aborts when the node is to stop: its reason may be a {@link Farewell}. */
  readonly signal: AbortSignal
}

/** Runs until the run is over, or until `signal`; the caller stops the network after it. */
export async function runNode(given: NodeOptions): Promise<Finished> {
  let options = { ...given, network: withLoopback(given.network, given.clock) }
  for (;;) {
    const member = new Member(options)
    let outcome: Outcome
    try {
      outcome = await live(member, options)
      if (!('successors' in outcome)) {
        await member.conclude(outcome)
        return outcome
      }
    } finally {
      await member.close()
    }
    options = await inSuccessor(options, outcome)
  }
}

type Outcome = Finished | Extract<MemberEvent, { type: 'resharded' }>

async function live(member: Member, options: NodeOptions): Promise<Outcome> {
  const { signal, journal } = options
  const stopped = Promise.withResolvers<MemberEvent>()
  const stop = () =>
    stopped.resolve({ type: 'finished', committed: member.committed, failure: STOPPED })
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  const next = () => Promise.race([member.next(), stopped.promise])
  try {
    let turn: MemberEvent = await begin(member, options, stopped.promise)
    for (;;) {
      switch (turn.type) {
        case 'admitted':
          journal.write({ type: 'joined', coordinator: turn.coordinator })
          turn = await next()
          break
        case 'elected': {
          const outcome = member.isElected(turn.ballot) ? await lead(member, options) : null
          if (outcome !== null) return outcome
          turn = await next()
          break
        }
        case 'resharded':
          return turn
        case 'dropped':
          turn = await enterRun(member, options, stopped.promise, false)
          break
        case 'finished': {
          if (signal.aborted && (await sayFarewell(member, options))) return leftBehind(member)
          const { committed, failure } = turn
          return { committed, failure }
        }
      }
    }
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

const STOPPED = 'stopped by its user'

/** Enters the run; or goes on in it, if it is what this peer's own became. */
async function begin(
  member: Member,
  options: NodeOptions,
  stopped: Promise<MemberEvent>,
): Promise<MemberEvent> {
  const { start = null, journal, network } = options
  // Who was told of it asks to be let in there, and never founds it.
  if (start === null || start.roster === null) {
    const { mayFound = true } = options
    return enterRun(member, options, stopped, mayFound && start === null)
  }
  const turn = await Promise.race([member.next(), stopped])
  if (turn.type === 'elected') {
    const reason = 'it did in the run that became this one'
    journal.write({ type: 'elected', coordinator: network.self, reason })
    await regroup(options, start.roster)
  }
  return turn
}

/**
 * Founds the run, or is let in by who coordinates it. Whoever was in the run before never founds it: the swarm is
 * elsewhere, and a second beginning would split it.
 */
async function enterRun(
  member: Member,
  options: NodeOptions,
  stopped: Promise<MemberEvent>,
  mayFound: boolean,
): Promise<MemberEvent> {
  const { clock, journal } = options
  // Whom it asked may let it in though the answer never came: that ends the search.
  const turned = Promise.race([member.next(), stopped])
  const search = () => options.discover((peer) => enter(member, options, peer)).catch(overOrThrow)
  let founds = mayFound
  let told = false
  let begun = clock.now()
  for (;;) {
    const found = await Promise.race([turned, founds ? search() : search().catch(laterIfNobody)])
    if (found instanceof RunIsOver) {
      return { type: 'finished', committed: options.run.steps, failure: null }
    }
    if (typeof found !== 'string' && found !== null) return found
    if (found === null && founds) {
      member.found()
      journal.write({ type: 'founded' })
      if (member.committed > 0) {
        const message = `the swarm goes on after step ${member.committed}`
        journal.write({ type: 'notice', message })
      }
      return turned
    }
    if (found === null && !told) {
      told = true
      const reason = 'nobody of the run is in sight: this peer looks on'
      journal.write({ type: 'waiting', stages: [], reason })
    }
    founds = false
    if (found !== null) {
      const turn = await admission(member, options, turned, found)
      if (turn !== null) return turn
      begun = clock.now()
      continue
    }
    const ms = clock.now() - begun
    if (ms > TIMEOUTS.strandedMs) {
      const failure = `nobody of the run has let this peer in for ${ms} ms`
      return { type: 'finished', committed: 0, failure }
    }
    const turn = await Promise.race([turned, clock.sleep(TIMEOUTS.retryMs)])
    if (turn !== undefined) return turn
  }
}

function overOrThrow(error: unknown): RunIsOver {
  if (error instanceof RunIsOver) return error
  throw error
}

/** For who was in the run before: those who answered then may answer again. */
function laterIfNobody(error: unknown): null {
  if (error instanceof InputError) return null
  throw error
}

/**
 * Waits to be named in a roster, which happens between two steps. As long as that takes, asks again from time to time:
 * who coordinates may have changed and not know of this peer. Null if nobody lets it in any more.
 */
async function admission(
  member: Member,
  options: NodeOptions,
  turned: Promise<MemberEvent>,
  welcomedBy: PeerId,
): Promise<MemberEvent | null> {
  const { clock, journal, network } = options
  const over = new AbortController()
  let coordinator = welcomedBy
  let gone = Promise.withResolvers<void>()
  const removeLost = network.onLost((peer) => {
    if (peer === coordinator) gone.resolve()
  })
  try {
    for (;;) {
      const again = clock.sleep(TIMEOUTS.admissionMs, over.signal).then(
        () => null,
        () => null,
      )
      const turn = await Promise.race([turned, gone.promise.then(() => null), again])
      if (turn !== null) return turn
      gone = Promise.withResolvers()
      const answer = await Promise.race([turned, enter(member, options, coordinator)])
      if (answer === null) return null
      if (typeof answer !== 'string') return answer
      coordinator = answer
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error
    const message = `${coordinator} went away before it let this peer in: ${error.message}`
    journal.write({ type: 'notice', message })
    return null
  } finally {
    removeLost()
    over.abort()
  }
}

/** Coordinates the run until it is over, or another does; then null. */
async function lead(member: Member, options: NodeOptions): Promise<Finished | null> {
  const { signal, network, journal } = options
  const swarm = new Coordinator({ ...options, member })
  const stop = () => {
    const { reason, withinMs } = farewellOf(signal)
    void swarm.leave(network.self, reason, withinMs !== null).catch(() => {})
    const limit = withinMs ?? TIMEOUTS.drainMs
    void options.clock.sleep(limit, swarm.signal).then(
      () => swarm.stop(),
      () => {},
    )
  }
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  try {
    await swarm.begin()
    await train(swarm, options)
  } catch (error) {
    const { committed } = swarm.roster
    if (error instanceof Deposed) {
      journal.write({ type: 'notice', message: `coordinates no more: ${error.message}` })
      swarm.stop()
      member.stepDown(swarm.term, error.by)
      return null
    }
    if (error instanceof Resharded) {
      swarm.stop()
      return null
    }
    if (error instanceof HandedOver || signal.aborted) {
      swarm.stop()
      return error instanceof HandedOver
        ? leftBehind(member)
        : { committed, failure: farewellOf(signal).reason }
    }
    const failure = messageOf(error)
    await swarm.finish(failure)
    // What the user can mend is told as such here; the others hear it as the reason of the end.
    if (error instanceof InputError) throw error
    return { committed, failure }
  } finally {
    signal.removeEventListener('abort', stop)
  }
  await swarm.finish(null)
  return { committed: swarm.roster.committed, failure: null }
}

/**
 * Has the stage taken over before this peer goes, as far as there is time and somebody to take it. True if the swarm has
 * let it go.
 */
async function sayFarewell(member: Member, options: NodeOptions): Promise<boolean> {
  const { network, clock, runId, signal, journal } = options
  const { reason, withinMs } = farewellOf(signal)
  journal.write({ type: 'notice', message: `leaving: ${reason}` })
  const patient = withinMs !== null
  const question = { run: runId, reason, patient }
  const until = clock.now() + (withinMs ?? TIMEOUTS.drainMs)
  for (let attempt = 1; member.own !== undefined; attempt++) {
    const { peer } = coordinatorOf(member.roster!)
    const timeoutMs = Math.max(0, until - clock.now())
    try {
      await ask(network, peer, leave, question, { timeoutMs })
      return true
    } catch {
      // The coordinator may be leaving itself, or lost: the next one is asked as soon as there is one.
      const enough = patient ? clock.now() >= until : attempt >= LEAVE_ATTEMPTS
      if (enough) return false
      await clock.sleep(TIMEOUTS.retryMs)
    }
  }
  return false
}

/** How the run ended for a peer that was let go: whether its stage is in other hands, the last roster that it had says. */
function leftBehind(member: Member): Finished {
  const { committed, own, roster } = member
  const stage = own?.stage ?? null
  const handedOn = stage === null || holdersOf(roster!, stage).length > 1
  return handedOn ? { committed, failure: null, left: true } : { committed, failure: STOPPED }
}

function farewellOf({ reason }: AbortSignal): Farewell {
  const given = Object(reason) as Partial<Farewell>
  return { reason: given.reason ?? STOPPED, withinMs: given.withinMs ?? null }
}

/** Asks to be let in, by way of whoever is known. Gives the coordinator; null if that one is not in the run yet. */
async function enter(
  member: Member,
  { network, clock, runId, wish, domain = '', resume }: NodeOptions & { clock: Clock },
  contact: PeerId,
): Promise<PeerId | null> {
  let asked = contact
  // One referral leads to the coordinator; more can come while it changes.
  for (let referrals = 0; referrals < 4; referrals++) {
    const { session } = member
    const addresses = [...network.addresses]
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

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
