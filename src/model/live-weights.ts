/**
 * A consistent copy of the weights of a swarm that goes on training, fetched by a peer that is not in it. It names a
 * step; a holder of each stage keeps a copy of its weights as they are after it, and the copies are then fetched. Every
 * stage is of the same step, and nobody has stopped.
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

export interface LiveWeightsOptions {
  readonly network: Network
  readonly clock: Clock
  readonly run: Run
  readonly runId: string
  /** Peers of the run, connected or known by an address. */
  readonly contacts: readonly PeerId[]
  readonly signal?: AbortSignal | undefined
}

/** Called for one stage after another, from the ends on: one is in memory at a time. */
export type TakeStage = (stage: {
  readonly index: number
  readonly step: number
  /** Flat, in the stage's layout. */
  readonly weights: Float32Array
}) => void

/**
 * @returns the step after which the weights are
 * @throws ProtocolError UNREACHABLE if no attempt had a copy of every stage, with what each one failed at
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
  throw new ProtocolError('UNREACHABLE', `no copy of the whole model could be had: ${reasons}`)
}

async function attempt(
  options: LiveWeightsOptions,
  ahead: number,
  take: TakeStage,
): Promise<number> {
  const { network, run, runId: id, signal } = options
  const roster = await currentRoster(options)
  for (const { peer, addresses } of roster.members) network.learn(peer, addresses)
  const step = Math.min(roster.committed + ahead, run.steps)
  const stages = Array.from({ length: run.stages + 1 }, (_, stage) => stage)
  const donors = await Promise.all(stages.map((stage) => keepCopies(options, roster, stage, step)))
  for (const [index, peers] of donors.entries()) {
    const weights = new Float32Array(layoutOf(stageConfig(run), index).length)
    const question = { run: id, step, stage: index, part: 'weights' } as const
    const each = { chunkTimeoutMs: TIMEOUTS.chunkMs, signal }
    await fetchState(network, peers, question, weights, each)
    take({ index, step, weights })
  }
  return step
}

/** As the first who answers knows it. */
export async function currentRoster({
  network,
  runId,
  contacts,
  signal = new AbortController().signal,
}: Pick<LiveWeightsOptions, 'network' | 'runId' | 'contacts' | 'signal'>): Promise<Roster> {
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

/** The holders of a stage that now have a copy. @throws if there is none */
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
    `stage ${stage} after step ${step}: ${reasons || 'nobody holds it now'}`,
  )
}
