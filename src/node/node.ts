/** A node: a member of a run, and its coordinator while the roster names it. Real and simulated nodes run this code. */
import { withLoopback } from '../../protocols/loopback.ts'
import { IncarnationStore } from '../checkpoint/incarnation-store.ts'
import type { Store } from '../checkpoint/store.ts'
import { Member } from '../holder/member.ts'
import { Incarnation } from '../membership/incarnation.ts'
import type { Finished, MemberEvent } from '../membership/member-events.ts'
import { coordinate } from './coordinate.ts'
import { enterRun } from './enter-run.ts'
import { finishedAfterLeaving, leaveRun, STOPPED } from './leave-run.ts'
import type { NodeOptions } from './node-options.ts'
import { inSuccessor, regroup } from './successor-run.ts'

export type { NodeOptions } from './node-options.ts'

/**
 * Runs a node until the end of its run, or until its signal aborts. It continues in the successor of a resharded run. The
 * caller stops the network afterwards.
 * @throws InputError if the user can mend the cause of a failure
 */
export async function runNode(firstOptions: NodeOptions): Promise<Finished> {
  const network = withLoopback(firstOptions.network, firstOptions.clock)
  let runOptions = firstOptions
  for (;;) {
    const incarnation = new Incarnation(runOptions.runId, runOptions.lineage)
    const options = {
      ...runOptions,
      incarnation,
      network: incarnation.over(network),
      checkpoints: storeOf(runOptions, incarnation),
    }
    const member = new Member(options)
    let outcome: Outcome
    try {
      outcome = await followRun(member, options)
      if (!('successors' in outcome)) {
        await member.conclude(outcome)
        return outcome
      }
    } finally {
      await member.close()
    }
    const successor = await inSuccessor(runOptions, outcome)
    runOptions = { ...successor, lineage: incarnation.lineage }
  }
}

/** The store as the incarnation sees it. */
function storeOf(
  { checkpoints, runId, ancestors = [] }: NodeOptions,
  incarnation: Incarnation,
): Store | null {
  if (checkpoints == null) return null
  const earlier = ancestors.map(({ id }) => id)
  return new IncarnationStore(checkpoints, runId, incarnation, earlier)
}

type Outcome = Finished | Extract<MemberEvent, { type: 'resharded' }>

/** Handles a member's events until the run ends for it. */
async function followRun(member: Member, options: NodeOptions): Promise<Outcome> {
  const { signal, journal } = options
  const stopped = Promise.withResolvers<MemberEvent>()
  const stop = () =>
    stopped.resolve({ type: 'finished', committed: member.committed, failure: STOPPED })
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  const next = () => Promise.race([member.next(), stopped.promise])
  try {
    let event = await firstEvent(member, options, stopped.promise)
    for (;;) {
      switch (event.type) {
        case 'admitted':
          journal.write({ type: 'joined', coordinator: event.coordinator })
          event = await next()
          break
        case 'elected': {
          const outcome = member.isElected(event.ballot) ? await coordinate(member, options) : null
          if (outcome !== null) return outcome
          event = await next()
          break
        }
        case 'resharded':
          return event
        case 'dropped':
          event = await enterRun(member, options, stopped.promise, 'never', event.through)
          break
        case 'finished': {
          if (signal.aborted && (await leaveRun(member, options))) {
            return finishedAfterLeaving(member, signal)
          }
          const { committed, failure } = event
          return { committed, failure }
        }
      }
    }
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** Enters the run, or waits for the first event of a member that is already in a successor run. */
async function firstEvent(
  member: Member,
  options: NodeOptions,
  stopped: Promise<MemberEvent>,
): Promise<MemberEvent> {
  const { start = null, journal, network } = options
  // A newcomer that was told of a successor run asks for admission there, and never founds that run.
  if (start === null || start.roster === null) {
    const { claim = 'may' } = options
    return enterRun(member, options, stopped, start === null ? claim : 'never')
  }
  const event = await Promise.race([member.next(), stopped])
  if (event.type === 'elected') {
    const reason = 'it was the coordinator of the run before this one'
    journal.write({ type: 'elected', coordinator: network.self, reason })
    await regroup(options, start.roster)
  }
  return event
}
