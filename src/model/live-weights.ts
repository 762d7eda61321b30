/**
 * Fetches a consistent copy of the weights of a training swarm, by a guest. The guest names a future step. A holder of
 * each stage copies its weights after this step, and the guest then fetches the copies. All copies are of the same step,
 * and training does not stop.
 */
import type { Clock } from '../../protocols/clock.ts'
import { ProtocolError } from '../../protocols/errors.ts'
import type { Roster } from '../../protocols/membership.ts'
import type { Network, PeerId } from '../../protocols/network.ts'
import { ask } from '../../protocols/procedure.ts'
import { snapshot } from '../../protocols/snapshot.ts'
import { fetchState } from '../../protocols/weights.ts'
import { layoutOf } from '../../stages/parameters.ts'
import { COPIES_MAX, COPY_STEPS_AHEAD, TIMEOUTS } from '../base/limits.ts'
import { fetchRoster } from '../membership/agreement.ts'
import { holdersOf } from '../membership/roster.ts'
import { type Run, stageConfig } from '../run/run.ts'

/** Options for fetching live weights. */
export interface LiveWeightsOptions {
  readonly network: Network
  readonly clock: Clock
  readonly run: Run
  readonly runId: string
  /** Peers of the run that are connected or have a known address. */
  readonly contacts: readonly PeerId[]
  readonly signal?: AbortSignal | undefined
}

/** Called for each stage in turn, from stage 0 on, so that memory contains one stage at a time. */
export type TakeStage = (stage: {
  readonly index: number
  readonly step: number
  /** Flat weights in the stage's layout. */
  readonly weights: Float32Array
}) => void

/**
 * Fetches the weights of all stages after the same step.
 * @returns the step
 * @throws ProtocolError UNREACHABLE if no attempt got a copy of every stage, with the reason for each attempt
 */
export async function fetchWeights(options: LiveWeightsOptions, take: TakeStage): Promise<number> {
  const { clock, signal } = options
  const failures: string[] = []
  for (const ahead of COPY_STEPS_AHEAD) {
    if (ahead > 0) await clock.sleep(TIMEOUTS.retryMs, signal)
    try {
      return await attempt(options, ahead, take)
    } catch (error) {
      signal?.throwIfAborted()
      if (!(error instanceof ProtocolError)) throw error
      failures.push(error.message)
    }
  }
  const reasons = [...new Set(failures)].join('; ')
  throw new ProtocolError('UNREACHABLE', `no attempt got a copy of every stage: ${reasons}`)
}

async function attempt(
  options: LiveWeightsOptions,
  ahead: number,
  take: TakeStage,
): Promise<number> {
  const { network, run, signal } = options
  const { roster, incarnation } = await currentRoster(options)
  for (const { peer, addresses } of roster.members) network.learn(peer, addresses)
  const step = Math.min(roster.committed + ahead, run.steps)
  const stages = Array.from({ length: run.stages + 1 }, (_, stage) => stage)
  const donors = await Promise.all(
    stages.map((stage) => keepCopies({ ...options, runId: incarnation }, roster, stage, step)),
  )
  for (const [index, peers] of donors.entries()) {
    const weights = new Float32Array(layoutOf(stageConfig(run), index).length)
    const question = { run: incarnation, step, stage: index, part: 'weights' } as const
    const each = { chunkTimeoutMs: TIMEOUTS.chunkMs, signal }
    await fetchState(network, peers, question, weights, each)
    take({ index, step, weights })
  }
  return step
}

/** Latest roster of the first peer that answers, and the id of its incarnation. @throws ProtocolError if no peer answers */
export async function currentRoster({
  network,
  runId,
  contacts,
  signal = new AbortController().signal,
}: Pick<LiveWeightsOptions, 'network' | 'runId' | 'contacts' | 'signal'>): Promise<{
  roster: Roster
  incarnation: string
}> {
  let failure: unknown = new ProtocolError('UNREACHABLE', 'no peer of the run is known')
  for (const peer of contacts) {
    try {
      return await fetchRoster({ network, runId, signal }, peer)
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

/** Asks holders of a stage to keep a copy. Gives the holders that did. @throws ProtocolError STALE if there is none */
async function keepCopies(
  { network, runId: run, signal }: LiveWeightsOptions,
  roster: Roster,
  stage: number,
  step: number,
): Promise<PeerId[]> {
  const holders = holdersOf(roster, stage).slice(0, COPIES_MAX)
  const options = { timeoutMs: TIMEOUTS.snapshotMs, signal }
  const asked = await Promise.allSettled(
    holders.map(({ peer }) => ask(network, peer, snapshot, { run, stage, step }, options)),
  )
  const kept = holders.filter((_, i) => asked[i]!.status === 'fulfilled').map(({ peer }) => peer)
  if (kept.length > 0) return kept
  const reasons = asked.map((each) => (each as PromiseRejectedResult).reason.message).join('; ')
  throw new ProtocolError(
    'STALE',
    `stage ${stage} after step ${step}: ${reasons || 'the stage has no holder'}`,
  )
}
