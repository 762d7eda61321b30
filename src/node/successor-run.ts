/** The change of a node into the successor of its run, which has fewer stages and starts from a checkpoint. */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import { type Member as Entry, heartbeat, type Roster } from '../../protocols/membership.ts'
import type { Network } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { InputError } from '../base/errors.ts'
import { REGROUP_MS, TIMEOUTS } from '../base/limits.ts'
import type { MemberEvent } from '../membership/member-events.ts'
import { runId, withStages } from '../run/run.ts'
import type { NodeOptions } from './node-options.ts'

type Resharded = Extract<MemberEvent, { type: 'resharded' }>

/**
 * The options of a node in the successor of its run.
 * @throws InputError if the node has no way to open a successor
 */
export async function inSuccessor(options: NodeOptions, event: Resharded): Promise<NodeOptions> {
  const { journal, openSuccessor } = options
  const { successors, start, committed, reason } = event
  const ancestors = [...(options.ancestors ?? [])]
  let { run, runId: id } = options
  for (const successor of successors) {
    ancestors.push({ id, successor })
    run = withStages(run, successor.stages, `The successor of run ${id.slice(0, 12)}`)
    id = runId(run)
  }
  const { origin } = successors.at(-1)!
  journal.write({
    type: 'resharded',
    run: { from: options.runId, to: id },
    stages: { from: options.run.stages, to: run.stages },
    step: origin.step,
    committed,
    reason,
  })
  if (openSuccessor === undefined) {
    throw new InputError(
      `The run continues with ${run.stages} body stages from a checkpoint that this peer cannot read: start it with --checkpoints.`,
    )
  }
  const resources = await openSuccessor(run, id, origin)
  // The stages are cut differently, so that a stage asked for by number no longer exists.
  return { ...options, wish: null, ...resources, run, runId: id, ancestors, start }
}

/** Options of `regroup`. */
interface Regrouping {
  readonly network: Network
  readonly clock: Clock
  readonly runId: string
  readonly signal: AbortSignal
}

/**
 * Waits up to `reconnectMs` until every member answers in the successor run. Without the wait, a member that changes over
 * later than the coordinator would count as lost.
 */
export async function regroup(options: Regrouping, { epoch, members }: Roster): Promise<void> {
  const { network, clock, runId, signal } = options
  const until = clock.now() + TIMEOUTS.reconnectMs
  const question = { run: runId, epoch }
  const awaitMember = async ({ peer }: Entry) => {
    while (clock.now() < until) {
      const timeoutMs = until - clock.now()
      const failure = await ask(network, peer, heartbeat, question, { timeoutMs, signal }).catch(
        (error) => error as ProtocolError,
      )
      if (!(failure instanceof ProtocolError) || !isChangingOver(failure)) return
      await clock.sleep(REGROUP_MS, signal).catch(() => {})
    }
  }
  await Promise.all(members.filter(({ peer }) => peer !== network.self).map(awaitMember))
}

/** Tells whether a failed heartbeat comes from a member that has not changed over yet. */
function isChangingOver({ code }: ProtocolError): boolean {
  return code === 'WRONG_RUN' || code === 'UNKNOWN_PROTOCOL'
}
