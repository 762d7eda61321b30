/** Has spares rebuild stages that nobody holds, by the run's policy (`src/coordinator/stage-recovery.ts`). */
import { HOLD_ATTEMPTS, TIMEOUTS } from '../../../src/base/limits.ts'
import type { Match, RebuildProgress } from '../../../src/coordinator/placement.ts'
import { type Plan, planFor } from '../../../src/coordinator/stage-recovery.ts'
import { isFresh, isRestored } from '../../../src/membership/roster.ts'
import { STRATEGIES } from '../../../src/recovery/index.ts'
import type { KeptCopy } from '../../../src/recovery/strategy.ts'
import type { Swarm } from './swarm.ts'
import type { Course } from './timeline.ts'
import { STATE_PARTS, type Upkeep } from './upkeep.ts'
import type { Peer } from './wires.ts'

/** The coordinator, as far as a rebuild needs it. */
export interface Recovering {
  readonly swarm: Swarm
  readonly upkeep: Upkeep
  readonly lostAt: Map<number, number>
  /** How often a member failed to rebuild a stage, by id. */
  readonly holdFailures: Map<number, number>
  /** Rebuilds under way, by member id. */
  readonly rebuilds: Map<number, RebuildProgress>
  lose(id: number): void
  /** Called when a rebuild has ended. */
  rebuildEnded(): void
  rollBack(step: number): Course
}

/** @throws ProtocolError REFUSED if no strategy of the policy can work */
export function planOf({ swarm, upkeep }: Recovering, stage: number, copies: readonly KeptCopy[]) {
  const { noCheckpoint } = upkeep
  return planFor(swarm.setting.run, swarm.roster, stage, { copies, noCheckpoint })
}

export function* fill(recovering: Recovering, matches: readonly Match[]): Course {
  const { swarm, upkeep } = recovering
  if (!isFresh(swarm.roster)) yield swarm.farthestMs
  const copies = isFresh(swarm.roster) ? [] : upkeep.copies
  // At the start dozens of members take one stage.
  const plans = new Map<number, Plan>()
  for (const { stage } of matches) {
    if (!plans.has(stage)) plans.set(stage, planOf(recovering, stage, copies))
  }
  if (yield* rollBack(recovering, plans)) return
  for (const match of matches) begin(recovering, match, plans.get(match.stage)!)
}

/** Begins a rebuild, which goes on when other members are lost. */
function begin(recovering: Recovering, match: Match, plan: Plan): void {
  const { rebuilds, swarm } = recovering
  const { stage, member } = match
  const building: RebuildProgress = { stage, phase: 'building' }
  rebuilds.set(member.id, building)
  const isOver = () => rebuilds.get(member.id) !== building
  give(recovering, match, plan, isOver, (held) => {
    if (isOver()) return
    if (held) {
      rebuilds.set(member.id, { stage, phase: 'built' })
      recovering.rebuildEnded()
      return
    }
    swarm.timeline.schedule(TIMEOUTS.retryMs, () => {
      if (!isOver()) rebuilds.delete(member.id)
      recovering.rebuildEnded()
    })
  })
}

/** True if all members roll back to a checkpoint, or another strategy must be tried. */
function* rollBack(recovering: Recovering, plans: ReadonlyMap<number, Plan>): Course<boolean> {
  const { swarm, upkeep, lostAt } = recovering
  if (isRestored(swarm.roster)) return false
  if (![...plans.values()].some(({ strategy }) => strategy === 'checkpoint')) return false
  const begun = swarm.timeline.now
  const { step, ms } = upkeep.latest()
  yield ms
  if (step === null) return true
  for (const stage of swarm.empty) lostAt.set(stage, lostAt.get(stage) ?? begun)
  swarm.lostSteps += swarm.roster.committed - step
  yield* recovering.rollBack(step)
  return true
}

/** Has one spare rebuild one stage. @param done hears whether the spare did; not called if its death is noticed otherwise */
function give(
  recovering: Recovering,
  { stage, member }: Match,
  plan: Plan,
  isOver: () => boolean,
  done: (held: boolean) => void,
): void {
  const { swarm, lostAt } = recovering
  const { timeline, wires, setting, coordinator } = swarm
  const peer = swarm.peerOf(member.id)
  const since = lostAt.get(stage)
  if (peer === undefined) {
    done(false)
    return
  }
  const answer = (bytes: number, complete: boolean) => {
    const loadMs = plan.donors.length > 0 ? setting.costMs.load * peer.slowness : 0
    timeline.schedule(loadMs + wires.latencyMs(peer, coordinator), () => {
      if (isOver() || !peer.alive) return
      if (!complete) {
        fail(recovering, member.id)
        return done(false)
      }
      note(recovering, stage, plan, bytes, since)
      done(true)
    })
  }
  const ms = wires.latencyMs(coordinator, peer) + setting.costMs.build * peer.slowness
  timeline.schedule(ms, () => {
    if (isOver() || !peer.alive) return
    gather(recovering, stage, peer, plan, answer)
  })
}

/**
 * Counts a failure of a member. A member that fails too often is lost, since the coordinator would otherwise ask it for
 * ever.
 */
function fail({ holdFailures, lose }: Recovering, id: number): void {
  const failures = (holdFailures.get(id) ?? 0) + 1
  holdFailures.set(id, failures)
  if (failures >= HOLD_ATTEMPTS) lose(id)
}

function gather(
  { swarm, upkeep }: Recovering,
  stage: number,
  peer: Peer,
  { strategy, donors }: Plan,
  done: (bytes: number, complete: boolean) => void,
): void {
  const { timeline, wires, setting } = swarm
  if (strategy === 'checkpoint') {
    const bytes = upkeep.stateBytes(stage)
    swarm.bytes.store += bytes
    timeline.schedule(upkeep.storeMs(bytes), () => peer.alive && done(bytes, true))
    return
  }
  const copied = donors.some(({ copy }) => copy !== null)
  const isAlive = ({ peer }: { readonly peer: string }) => swarm.peerNamed(peer)?.alive === true
  const sources = copied
    ? shardsOf(donors, upkeep.shardsNeeded(strategy), isAlive)
    : stagesOf(donors)
  if (sources.length === 0) {
    done(0, true)
    return
  }
  const parts = STRATEGIES.get(strategy)!.moments?.(setting.run.recovery) ? STATE_PARTS : 1
  let [bytes, pending, complete] = [0, sources.length, true]
  for (const { from, isCopy, names } of sources) {
    const size = isCopy ? upkeep.shardBytes(strategy, stage) : parts * upkeep.weightBytes(from)
    const living = names.flatMap((name) => swarm.peerNamed(name) ?? [])
    bytes += size
    swarm.bytes.weights += size
    wires.fetch(living, peer, size, (ok) => {
      complete &&= ok
      pending--
      if (pending === 0) done(bytes, complete)
    })
  }
}

/** The keepers of each needed shard of the latest copy that is still there. */
function shardsOf(
  donors: Plan['donors'],
  needed: number,
  isAlive: (donor: Plan['donors'][number]) => boolean,
) {
  const bySteps = [...Map.groupBy(donors, ({ copy }) => copy!.step).values()]
  const whole = bySteps.find((same) => {
    return new Set(same.filter(isAlive).map(({ copy }) => copy!.shard)).size >= needed
  })
  const shards = Map.groupBy(whole ?? bySteps[0]!, ({ copy }) => copy!.shard)
  return [...shards.values()].slice(0, needed).map((same) => ({
    from: same[0]!.stage,
    isCopy: true,
    names: same.map(({ peer }) => peer),
  }))
}

/** All holders of each stage whose weights are used. */
function stagesOf(donors: Plan['donors']) {
  return [...Map.groupBy(donors, ({ stage }) => stage)].map(([from, same]) => ({
    from,
    isCopy: false,
    names: same.map(({ peer }) => peer),
  }))
}

function note(
  { swarm, upkeep }: Recovering,
  stage: number,
  { strategy, skipped, donors }: Plan,
  bytes: number,
  since: number | undefined,
): void {
  if (since === undefined) return
  const { timeline, roster } = swarm
  const steps = donors.flatMap(({ copy }) => copy?.step ?? [])
  swarm.recoveries.push({
    iteration: swarm.made,
    hours: swarm.hours,
    stage,
    strategy,
    skipped: skipped.map((each) => each.strategy),
    seconds: (timeline.now - since) / 1000,
    bytes: Math.round(bytes),
    stepsLost: steps.length === 0 ? 0 : roster.committed - Math.max(...steps),
    weightError: null,
    lossBefore: null,
    lossAfter: null,
  })
  if (strategy !== 'redundant') upkeep.changed(stage)
}
