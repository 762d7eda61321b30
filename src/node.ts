/** A node: one member of a run, and its coordinator too if it founded it. The same in a real and a simulated world. */
import { withDeadline } from '../protocols/clock.ts'
import { ProtocolError } from '../protocols/errors.ts'
import { withLoopback } from '../protocols/loopback.ts'
import { hello, leave } from '../protocols/membership.ts'
import type { PeerId } from '../protocols/network.ts'
import { ask } from '../protocols/procedure.ts'
import { TIMEOUTS } from './limits.ts'
import { type Finished, Member, type MemberOptions } from './member.ts'
import { Swarm } from './swarm.ts'
import { train } from './train.ts'

export interface NodeOptions extends MemberOptions {
  /** The stage that this peer insists on; null takes the one that needs a holder most. */
  readonly wish: number | null
  /** Any member of the run, or null to found it. */
  readonly contact: PeerId | null
  /** Where the run ends, if this peer coordinates it. */
  readonly lastStep: number
  /** Aborts when the user wants the node to stop. */
  readonly signal: AbortSignal
}

/** Runs until the run is over, or until `signal`; the caller stops the network after it. */
export async function runNode(options: NodeOptions): Promise<Finished> {
  const network = withLoopback(options.network)
  const member = new Member({ ...options, network })
  const { signal, contact } = options
  return contact === null
    ? found(member, { ...options, network }, signal)
    : follow(member, { ...options, network }, contact, signal)
}

async function found(member: Member, options: NodeOptions, signal: AbortSignal): Promise<Finished> {
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
  }
  await swarm.finish(failure)
  swarm.stop()
  signal.removeEventListener('abort', stop)
  const finished = await member.finished
  await member.close()
  return finished
}

async function follow(
  member: Member,
  options: NodeOptions,
  contact: PeerId,
  signal: AbortSignal,
): Promise<Finished> {
  const { network, clock, runId, journal } = options
  member.referNewcomers()
  const coordinator = await enter(options, contact)
  journal.write({ type: 'joined', coordinator })
  const stopped = Promise.withResolvers<Finished>()
  const stop = () =>
    stopped.resolve({ committed: member.committed, failure: 'stopped by its user' })
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  const watching = member.watchCoordinator()
  try {
    const admitted = withDeadline(
      { clock, timeoutMs: TIMEOUTS.admissionMs, signal },
      `${coordinator} to name this peer in a roster`,
      () => Promise.race([member.admitted, member.finished]),
    )
    const first = await Promise.race([admitted, stopped.promise])
    const finished = first ?? (await Promise.race([member.finished, stopped.promise]))
    if (signal.aborted) {
      const options = { timeoutMs: TIMEOUTS.farewellMs }
      await ask(network, coordinator, leave, { run: runId }, options).catch(() => {})
    }
    return finished
  } finally {
    signal.removeEventListener('abort', stop)
    await member.close()
    await watching
  }
}

/** Asks to be let in, by way of whoever is known. Gives the coordinator. */
async function enter(options: NodeOptions, contact: PeerId): Promise<PeerId> {
  const { network, runId, wish } = options
  let asked = contact
  // One referral leads to the coordinator; a second one can come while it changes.
  for (let referrals = 0; referrals < 3; referrals++) {
    const question = { run: runId, addresses: [...network.addresses], stage: wish }
    const answer = await ask(network, asked, hello, question, { timeoutMs: TIMEOUTS.helloMs })
    if (answer.result === 'welcome') return asked
    network.learn(answer.coordinator, answer.addresses)
    asked = answer.coordinator
  }
  throw new ProtocolError('REFUSED', `${contact} and those it named all referred to another peer`)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
