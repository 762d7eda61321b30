/** A node goes on in the run that its own became: the same with fewer stages, from a checkpoint. */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import {
  type Member as Entry,
  heartbeat,
  type Origin,
  type Roster,
} from '../../protocols/membership.ts'
import type { Network } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { InputError } from '../base/errors.ts'
import { REGROUP_MS, TIMEOUTS } from '../base/limits.ts'
import type { MemberEvent } from '../membership/member-events.ts'
import { type Run, runId, withStages } from '../run/run.ts'
import type { NodeOptions } from './node.ts'

/** What a node brings into the run that its own became, in place of what it had. */
type RunResources = Partial<
  Pick<NodeOptions, 'journal' | 'createStage' | 'loadData' | 'save' | 'discover'>
> &
  Pick<NodeOptions, 'resume'>

/** @param origin the checkpoint that the run goes on from */
export type OpenSuccessor = (
  run: Run,
  runId: string,
  origin: Origin,
) => Promise<RunResources> | RunResources

type Resharded = Extract<MemberEvent, { type: 'resharded' }>

/** The options of a node in the run that its own became. */
export async function inSuccessor(options: NodeOptions, moved: Resharded): Promise<NodeOptions> {
  const { journal, goOn } = options
  const { successors, start, committed, reason } = moved
  const ancestors = [...(options.ancestors ?? [])]
  let { run, runId: id } = options
  for (const successor of successors) {
    ancestors.push({ id, successor })
    run = withStages(run, successor.stages, `What became of run ${id.slice(0, 12)}`)
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
  if (goOn === undefined) {
    throw new InputError(
      `The run goes on with ${run.stages} body stages, from a checkpoint that this peer was not told of: start it with --checkpoints.`,
    )
  }
  const belongings = await goOn(run, id, origin)
  // A stage that this peer insisted on is another one now.
  return { ...options, wish: null, ...belongings, run, runId: id, ancestors, start }
}

interface Regrouping {
  readonly network: Network
  readonly clock: Clock
  readonly runId: string
  readonly signal: AbortSignal
}

/** Members come over one by one: waits a little until all answer here, before any of them counts as lost. */
export async function regroup(options: Regrouping, { epoch, members }: Roster): Promise<void> {
  const { network, clock, runId, signal } = options
  const until = clock.now() + TIMEOUTS.reconnectMs
  const question = { run: runId, epoch }
  const come = async ({ peer }: Entry) => {
    while (clock.now() < until) {
      const timeoutMs = until - clock.now()
      const failure = await ask(network, peer, heartbeat, question, { timeoutMs, signal }).catch(
        (error) => error as ProtocolError,
      )
      if (!(failure instanceof ProtocolError) || !isOnItsWay(failure)) return
      await clock.sleep(REGROUP_MS, signal).catch(() => {})
    }
  }
  await Promise.all(members.filter(({ peer }) => peer !== network.self).map(come))
}

/** It is still in the run before, or between the two. */
function isOnItsWay({ code }: ProtocolError): boolean {
  return code === 'WRONG_RUN' || code === 'UNKNOWN_PROTOCOL'
}
