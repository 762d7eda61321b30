/** Has spares rebuild stages that nobody holds, by the run's policy (`src/coordinator/stage-recovery.ts`). */
import { HOLD_ATTEMPTS, TIMEOUTS } from '../../../src/base/limits.ts'
import type { Match } from '../../../src/coordinator/placement.ts'
import { type Plan, planFor } from '../../../src/coordinator/stage-recovery.ts'
import { isFresh, isRestored } from '../../../src/membership/roster.ts'
import { STRATEGIES } from '../../../src/recovery/index.ts'
import type { KeptCopy } from '../../../src/recovery/strategy.ts'
import type { Swarm } from './swarm.ts'
import { type Course, Gate } from './timeline.ts'
import { STATE_PARTS, type Upkeep } from './upkeep.ts'
import type { Peer } from './wires.ts'

/** The coordinator, as far as a rebuild needs it. */
export interface Recovering {
  readonly swarm: Swarm
  readonly upkeep: Upkeep
  readonly lostAt: Map<number, number>
  /** How often a member failed to rebuild a stage, by id. */
  readonly holdFailures: Map<number, number>
  /** Opens when a holder is lost, which ends the rebuilds under way. */
  readonly interrupted: Gate
  lose(id: number): void
  changeMembers(more: {
    readonly assign?: readonly { id: number; stage: number; ready: boolean }[]
  }): Course
  rollBack(step: number): Course
}

/** @throws ProtocolError REFUSED if no strategy of the policy can work */
export function planOf({ swarm, upkeep }: Recovering, stage: number, copies: readonly KeptCopy[]) {
  const { noCheckpoint } = upkeep
  return planFor(swarm.setting.run, swarm.roster, stage, { copies, noCheckpoint })
}

export function* fill(recovering: Recovering, matches: readonly Match[]): Course {
  const { swarm, upkeep } = recovering
  if (upkeep.isAsked && !isFresh(swarm.roster)) yield swarm.farthestMs
  const copies = isFresh(swarm.roster) ? [] : upkeep.copies
  // At the start dozens of members take one stage.
  const plans = new Map<number, Plan>()
  for (const { stage } of matches) {
    if (!plans.has(stage)) plans.set(stage, planOf(recovering, stage, copies))
  }
  if (yield* rollBack(recovering, plans)) return
  const answered = new Gate()
  const held = new Map<number, Match>()
  let open = matches.length
  const done = () => {
    open--
    if (open === 0) answered.open()
  }
  for (const match of matches) {
    give(recovering, match, plans.get(match.stage)!, (ok) => {
      if (ok && !recovering.interrupted.isOpen) held.set(match.stage, match)
      done()
    })
  }
  yield [answered, recovering.interrupted]
  const given = [...held.values()]
  if (given.length > 0) {
    yield* recovering.changeMembers({
      assign: given.map(({ stage, member }) => ({ id: member.id, stage, ready: true })),
    })
  } else yield TIMEOUTS.retryMs
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
  done: (held: boolean) => void,
): void {
  const { swarm, lostAt } = recovering
  const { timeline, wires, setting, coordinator, roster } = swarm
  const peer = swarm.peerOf(member.id)
  const since = lostAt.get(stage)
  if (peer === undefined) {
    done(false)
    return
  }
  const answer = (bytes: number, complete: boolean) => {
    const loadMs = plan.donors.length > 0 ? setting.costMs.load * peer.slowness : 0
    timeline.schedule(loadMs + wires.latencyMs(peer, coordinator), () => {
      if (!complete) fail(recovering, member.id)
      if (!complete || !peer.alive || recovering.interrupted.isOpen) return done(false)
      note(recovering, stage, plan, bytes, since)
      done(true)
    })
  }
  const ms = wires.latencyMs(coordinator, peer) + setting.costMs.build * peer.slowness
  timeline.schedule(ms, () => {
    if (!peer.alive) return done(false)
    if (roster !== swarm.roster || recovering.interrupted.isOpen) return done(false)
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
  const sources = sourcesOf(donors, copied ? upkeep.shardsNeeded(strategy) : 0)
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

/** Sources of the state: the keepers of each needed shard of a copy, or all holders of a stage whose weights are used. */
function sourcesOf(donors: Plan['donors'], shardsNeeded: number) {
  const copies = donors.filter(({ copy }) => copy !== null)
  const shards = Map.groupBy(copies, ({ copy }) => copy!.shard)
  const stages = Map.groupBy(
    donors.filter(({ copy }) => copy === null),
    ({ stage }) => stage,
  )
  return [
    ...[...shards.values()].slice(0, shardsNeeded).map((same) => ({
      from: same[0]!.stage,
      isCopy: true,
      names: same.map(({ peer }) => peer),
    })),
    ...[...stages].map(([from, same]) => ({
      from,
      isCopy: false,
      names: same.map(({ peer }) => peer),
    })),
  ]
}

function note(
  { swarm, upkeep, lostAt }: Recovering,
  stage: number,
  { strategy, skipped, donors }: Plan,
  bytes: number,
  since: number | undefined,
): void {
  lostAt.delete(stage)
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
    stepsLost: roster.committed - Math.min(roster.committed, ...steps),
    weightError: null,
    lossBefore: null,
    lossAfter: null,
  })
  if (strategy !== 'redundant') upkeep.changed(stage)
}
