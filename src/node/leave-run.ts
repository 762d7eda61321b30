/** Leaving a run before its end: the leaving member first hands over its stage. */
import { leave } from '../../protocols/membership.ts'
import { ask } from '../../protocols/procedure.ts'
import { LEAVE_ATTEMPTS, TIMEOUTS } from '../base/limits.ts'
import type { Member } from '../holder/member.ts'
import type { Finished } from '../membership/member-events.ts'
import { coordinatorOf, holdersOf } from '../membership/roster.ts'
import { drainMs } from '../run/budgets.ts'
import type { NodeOptions } from './node-options.ts'

/** The reason and the deadline of a node that leaves. */
export interface Departure {
  readonly reason: string
  /**
   * Time until the stage must be handed over, in milliseconds. With null the node leaves as soon as it is clear that no
   * member can take the stage.
   */
  readonly withinMs: number | null
}

/** Failure of a node that was stopped and has not handed over its stage. */
export const STOPPED = 'stopped by its user'

/** The departure that an aborted signal asks for. */
export function departureOf({ reason }: AbortSignal): Departure {
  const departure = Object(reason) as Partial<Departure>
  return { reason: departure.reason ?? STOPPED, withinMs: departure.withinMs ?? null }
}

/**
 * Asks the coordinator for this member's release, and waits for it. The coordinator hands over the stage first, if there
 * is time and another member can take it.
 * @param departure why and how soon it leaves. Default: what the node's signal says
 * @returns true if the coordinator has released this member
 */
export async function leaveRun(
  member: Member,
  options: NodeOptions,
  departure = departureOf(options.signal),
): Promise<boolean> {
  const { network, clock, runId, journal } = options
  const { reason, withinMs } = departure
  journal.write({ type: 'notice', message: `leaving: ${reason}` })
  const until = clock.now() + (withinMs ?? drainMs(options.run))
  for (let attempt = 1; member.own !== undefined; attempt++) {
    const { peer } = coordinatorOf(member.roster!)
    const timeoutMs = Math.max(0, until - clock.now())
    const question = { run: runId, reason, withinMs: withinMs === null ? null : timeoutMs }
    try {
      await ask(network, peer, leave, question, { timeoutMs })
      return true
    } catch {
      // The coordinator may be leaving or lost. The next attempt asks the coordinator of the latest roster.
      const isLast = withinMs === null ? attempt >= LEAVE_ATTEMPTS : clock.now() >= until
      if (isLast) return false
      await clock.sleep(TIMEOUTS.retryMs)
    }
  }
  return false
}

/** The result of a node that left. The last roster that it knows says whether another member holds its stage. */
export function finishedAfterLeaving(member: Member, signal: AbortSignal): Finished {
  const { committed, own, roster } = member
  const stage = own?.stage ?? null
  const isHandedOver = stage === null || holdersOf(roster!, stage).length > 1
  if (isHandedOver) return { committed, failure: null, left: true }
  const { reason, withinMs } = departureOf(signal)
  const untaken = withinMs === null ? '' : `; no other peer could take stage ${stage} in time`
  return { committed, failure: `${reason}${untaken}` }
}
