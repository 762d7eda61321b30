/**
 * The mode `scale` plays thousands of peers for days, in minutes. `sim/scenario.ts` plays the node's own code; this model is
 * coarser. The node's functions decide (next action, placement, journeys, the policy, keepers of copies). Work and transfers
 * are events, and a question to all members is one delay. docs/SCALE.md says what the model leaves out and how far it is off.
 */
import type { TrialResult } from '../results.ts'
import { Coordinator } from './coordinator.ts'
import { checkScale, type ScaleSetting } from './setting.ts'
import { Swarm } from './swarm.ts'
import { Upkeep } from './upkeep.ts'

/** A trial, and measurements that results of trials lack. */
export interface ScaleOutcome {
  readonly trial: TrialResult
  /** Mean number of living peers that hold no stage. */
  readonly idlePeers: number
  /** Duration of an undisturbed iteration. */
  readonly undisturbedSeconds: number
  /** Number of events of the model. */
  readonly events: number
  /** Virtual time until hours count: joining, building, the first steps. */
  readonly formingSeconds: number
}

/** Plays a trial in the model. @throws InputError if the setting is invalid */
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

/** @param look is called before every event */
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
