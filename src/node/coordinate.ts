/** A node while it coordinates the run, and how it stops doing so: at the run's end, for another member, or for a fault. */
import { InputError } from '../base/errors.ts'
import { STEP_DOWNS_MAX } from '../base/limits.ts'
import { Coordinator } from '../coordinator/coordinator.ts'
import { HandedOver, Resharded } from '../coordinator/roster-changes.ts'
import { RunFailure } from '../coordinator/run-failure.ts'
import { train } from '../coordinator/train.ts'
import { type Member, STEPS_DOWN } from '../holder/member.ts'
import { Deposed } from '../membership/agreement.ts'
import type { Finished } from '../membership/member-events.ts'
import { drainMs } from '../run/budgets.ts'
import { departureOf, finishedAfterLeaving, leaveRun } from './leave-run.ts'
import type { NodeOptions } from './node-options.ts'

/**
 * Coordinates the run until its end. Gives null if another member is the coordinator.
 * @throws InputError if the user of this peer can mend a fault of its own. Another member coordinates then, if there is one
 */
export async function coordinate(member: Member, options: NodeOptions): Promise<Finished | null> {
  const { signal, network } = options
  const coordinator = new Coordinator({ ...options, member })
  const stop = () => {
    const { reason, withinMs } = departureOf(signal)
    void coordinator.leave(network.self, reason, withinMs).catch(() => {})
    const limit = withinMs ?? drainMs(options.run)
    void options.clock.sleep(limit, coordinator.signal).then(
      () => coordinator.stop(),
      () => {},
    )
  }
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  try {
    await coordinator.begin()
    void member.foundings.watch(options.places ?? (() => []), coordinator.signal)
    await train(coordinator, options)
  } catch (error) {
    return await afterError(error, coordinator, member, options)
  } finally {
    signal.removeEventListener('abort', stop)
  }
  await coordinator.finish(null)
  return { committed: coordinator.roster.committed, failure: null }
}

async function afterError(
  error: unknown,
  coordinator: Coordinator,
  member: Member,
  options: NodeOptions,
): Promise<Finished | null> {
  const { signal, journal } = options
  const { committed, members } = coordinator.roster
  if (error instanceof Deposed) {
    const message = `this peer does not coordinate any more: ${error.message}`
    journal.write({ type: 'notice', message })
    coordinator.stop()
    member.stepDown(coordinator.term, error.by)
    return null
  }
  if (error instanceof Resharded) {
    coordinator.stop()
    return null
  }
  if (error instanceof HandedOver || signal.aborted) {
    coordinator.stop()
    return error instanceof HandedOver
      ? finishedAfterLeaving(member, signal)
      : { committed, failure: departureOf(signal).reason }
  }
  const isOwnFault = !(error instanceof RunFailure) && members.length > 1
  if (isOwnFault && member.stepDowns.length + 1 < STEP_DOWNS_MAX) {
    await stepDown(error, coordinator, member, options)
    return null
  }
  const earlier = isOwnFault ? member.stepDowns : []
  const failure = [...earlier, messageOf(error)].join('; ')
  await coordinator.finish(failure)
  // An InputError is printed with its remedy on this machine. The other members get its message as the run's failure.
  if (error instanceof InputError) throw error
  return { committed, failure }
}

/**
 * Gives the coordination up for a fault of this peer, and stays a member with its stage. A peer whose user has to mend
 * something hands its stage over, too, and leaves.
 * @throws the error, if this peer leaves
 */
async function stepDown(
  error: unknown,
  coordinator: Coordinator,
  member: Member,
  options: NodeOptions,
): Promise<void> {
  const fault = messageOf(error)
  const isNamed = await coordinator.stepDown(`${STEPS_DOWN} (${options.network.self}): ${fault}`)
  coordinator.stop()
  const next = isNamed ? 'another member coordinates now' : 'the other members elect a coordinator'
  const message = `this peer has a fault of its own, and gives up the coordination: ${fault}. The run goes on, and ${next}`
  options.journal.write({ type: 'notice', message })
  const leaves = error instanceof InputError
  // The others would wait for this peer as long as it answers as the coordinator that they know.
  if (!isNamed) await member.leaveRoster(fault)
  else if (leaves)
    await leaveRun(member, options, { reason: fault, withinMs: drainMs(options.run) })
  if (leaves) throw error
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
