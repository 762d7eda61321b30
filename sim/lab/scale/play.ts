/**
 * The mode `scale`: thousands of peers for days, in minutes. A coarser model than `sim/scenario.ts`, which plays the node's
 * own code: what is decided is decided by the node's functions (placement, plans of journeys, the policy, who keeps which
 * copy), and what takes time is an event of it, but a question to all members is one delay, not thousands of messages.
 * docs/SCALE.md says what that leaves out and how far it is off.
 */
import type { TrialResult } from '../results.ts'
import { Coordinator } from './coordinator.ts'
import { checkScale, type ScaleSetting } from './setting.ts'
import { Swarm } from './swarm.ts'
import { Upkeep } from './upkeep.ts'

/** A trial, and what no result of a trial says. */
export interface ScaleOutcome {
  readonly trial: TrialResult
  /** Peers that are there and have no stage to work at, on average. */
  readonly idlePeers: number
  /** What an iteration takes that nothing disturbs. */
  readonly undisturbedSeconds: number
  /** Of the model. */
  readonly events: number
  /** Virtual, until hours began to count: joining, building, the first steps. */
  readonly formingSeconds: number
}

/** @throws InputError if the setting cannot be */
export function playScale(setting: ScaleSetting): ScaleOutcome {
  checkScale(setting)
  const curve: [number, number, number][] = []
  const points = setting.undisturbed ?? []
  const swarm = run(setting, (each) => {
    for (
      let next = points[curve.length];
      next !== undefined && next[0] <= each.made - each.lostSteps && each.made > 0;
      next = points[curve.length]
    ) {
      curve.push([each.made, each.hoursAt(each.madeAt), next[1]])
    }
  })
  return {
    trial: trialOf(swarm, curve),
    idlePeers: swarm.idleMs / Math.max(1, swarm.untilMs - (swarm.begunAt ?? 0)),
    undisturbedSeconds: swarm.undisturbedMs / 1000,
    events: swarm.timeline.fired,
    formingSeconds: (swarm.begunAt ?? 0) / 1000,
  }
}

/** @param look at the swarm before every event */
function run(setting: ScaleSetting, look: (swarm: Swarm) => void): Swarm {
  const swarm = new Swarm(setting)
  const upkeep = new Upkeep(swarm)
  let end = () => {}
  const begin = () => {
    end = swarm.timeline.begin(new Coordinator(swarm, upkeep).course())
  }
  swarm.onSuccession = begin
  swarm.onDeath = (peer) => {
    upkeep.forget(peer)
    if (peer === swarm.coordinator) end()
  }
  begin()
  const until = () => (swarm.begunAt === null ? Number.POSITIVE_INFINITY : swarm.untilMs)
  swarm.timeline.run(until, () => {
    look(swarm)
    return swarm.failure !== null
  })
  swarm.finish()
  return swarm
}

function trialOf(swarm: Swarm, curve: TrialResult['curve']): TrialResult {
  const { setting, made, lostSteps, madeAt, bytes, recoveries, emptied, failure, undisturbedMs } =
    swarm
  const perIteration = Object.entries(bytes).map(
    ([purpose, sum]) => [purpose, Math.round(sum / Math.max(1, made))] as const,
  )
  const lasted = setting.hours * 3_600_000
  return {
    strategy: setting.strategy,
    failures: setting.failures,
    seed: setting.seed,
    source: 'played',
    losses: emptied,
    recoveries,
    iterations: made,
    hours: made === 0 ? 0 : swarm.hoursAt(madeAt),
    finalLoss: null,
    reached: null,
    goodput: ((made - lostSteps) * undisturbedMs) / lasted,
    bytesPerIteration: Object.fromEntries(perIteration),
    curve,
    failure,
  }
}
