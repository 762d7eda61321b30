/** A node: one member of a run, and its coordinator too if it founded it. The same in a real and a simulated world. */
import { withDeadline } from '../protocols/clock.ts'
import { ProtocolError } from '../protocols/errors.ts'
import { withLoopback } from '../protocols/loopback.ts'
import { hello, leave } from '../protocols/membership.ts'
import type { PeerId } from '../protocols/network.ts'
import { ask } from '../protocols/procedure.ts'
import type { Enter } from './discovery.ts'
import { InputError } from './errors.ts'
import { TIMEOUTS } from './limits.ts'
import { type Finished, Member, type MemberOptions } from './member.ts'
import { Swarm } from './swarm.ts'
import { train } from './train.ts'

export interface NodeOptions extends MemberOptions {
  /** The stage that this peer insists on; null takes the one that needs a holder most. */
  readonly wish: number | null
  /** Finds someone of the run who lets this peer in and gives the coordinator; null founds the run. */
  discover(enter: Enter): Promise<PeerId | null>
  /** Where the run ends, if this peer coordinates it. */
  readonly lastStep: number
  /** Aborts when the user wants the node to stop. */
  readonly signal: AbortSignal
}

/** Runs until the run is over, or until `signal`; the caller stops the network after it. */
export async function runNode(given: NodeOptions): Promise<Finished> {
  const options = { ...given, network: withLoopback(given.network, given.clock) }
  const member = new Member(options)
  try {
    member.referNewcomers()
    const coordinator = await options.discover((peer) => enter(options, peer))
    const outcome =
      coordinator === null
        ? await found(member, options)
        : await follow(member, coordinator, options)
    await member.conclude(outcome)
    return outcome
  } finally {
    await member.close()
  }
}

async function found(member: Member, options: NodeOptions): Promise<Finished> {
  const { signal } = options
  member.stopReferring()
  const swarm = new Swarm(options)
  options.journal.write({ type: 'founded' })
  const stop = () => swarm.stop()
  signal.addEventListener('abort', stop, { once: true })
  let failure: string | null = null
  try {
    signal.throwIfAborted()
    await train(swarm, options)
  } catch (error) {
    failure = signal.aborted ? 'the coordinator was stopped by its user' : messageOf(error)
    // What the user can mend is told as such here; the others hear it as the reason of the end.
    if (error instanceof InputError) {
      await swarm.finish(failure)
      throw error
    }
  } finally {
    signal.removeEventListener('abort', stop)
  }
  await swarm.finish(failure)
  return { committed: swarm.roster.committed, failure }
}

async function follow(
  member: Member,
  coordinator: PeerId,
  options: NodeOptions,
): Promise<Finished> {
  const { network, clock, runId, journal, signal } = options
  journal.write({ type: 'joined', coordinator })
  const stopped = Promise.withResolvers<Finished>()
  const stop = () =>
    stopped.resolve({ committed: member.committed, failure: 'stopped by its user' })
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  let admitted = false
  const removeLost = network.onLost((peer) => {
    if (peer !== coordinator || admitted) return
    const failure = `the coordinator ${peer} went away before it let this peer in`
    stopped.resolve({ committed: 0, failure })
  })
  const watching = member.watchCoordinator()
  const waiting = new AbortController()
  try {
    const admission = withDeadline(
      { clock, timeoutMs: TIMEOUTS.admissionMs, signal: waiting.signal },
      `${coordinator} to name this peer in a roster`,
      () => Promise.race([member.admitted, member.finished]),
    )
    admission.catch(() => {})
    const first = await Promise.race([admission, stopped.promise])
    admitted = true
    const finished = first ?? (await Promise.race([member.finished, stopped.promise]))
    if (signal.aborted) {
      const options = { timeoutMs: TIMEOUTS.farewellMs }
      await ask(network, coordinator, leave, { run: runId }, options).catch(() => {})
    }
    return finished
  } finally {
    signal.removeEventListener('abort', stop)
    removeLost()
    waiting.abort(new ProtocolError('REFUSED', 'this peer stops'))
    await member.close()
    await watching
  }
}

/** Asks to be let in, by way of whoever is known. Gives the coordinator; null if that one is not in the run yet. */
async function enter(options: NodeOptions, contact: PeerId): Promise<PeerId | null> {
  const { network, runId, wish } = options
  let asked = contact
  // One referral leads to the coordinator; a second one can come while it changes.
  for (let referrals = 0; referrals < 3; referrals++) {
    const question = { run: runId, addresses: [...network.addresses], stage: wish }
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
      default:
        answer satisfies never
    }
  }
  throw new ProtocolError('REFUSED', `${contact} and those it named all referred to another peer`)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
