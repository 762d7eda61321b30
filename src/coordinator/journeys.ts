/** Plans a step: which holders each microbatch visits. The plan gets another version when one of these holders is lost. */
import type { Member, Roster } from '../../protocols/membership.ts'
import type { Journey } from '../../protocols/step.ts'
import { holdersOf, memberById } from '../membership/roster.ts'
import { rowsOf } from '../recovery/index.ts'
import type { Run } from '../run/run.ts'
import type { Link } from './reach-members.ts'

/** Number of microbatches of this plan, by member id. */
type Loads = ReadonlyMap<number, number>

/** Microbatches a second of a member; undefined before its first step. */
export type SpeedOf = (id: number) => number | undefined

/** The body stages that a microbatch visits, in order. */
export type Order = readonly number[]

/** 1, 2, .., S. */
export function normalOrder(bodyStages: number): Order {
  return Array.from({ length: bodyStages }, (_, i) => i + 1)
}

/** The first two stages swapped, and the last two: 2, 1, 3, .., S, S-1 (CheckFree+, arXiv 2506.15461, section 4.3). */
export function swappedOrder(bodyStages: number): Order {
  const between = Array.from({ length: bodyStages - 4 }, (_, i) => i + 3)
  return [2, 1, ...between, bodyStages, bodyStages - 1]
}

/** The order of each microbatch of a step. If the policy asks for swaps, every other microbatch of the run takes the swapped order. */
export function ordersOf({ stages, microbatches, recovery }: Run, step: number): Order[] {
  const swaps = isSwapped(recovery)
  return Array.from({ length: microbatches }, (_, index) => {
    const isOdd = (step * microbatches + index) % 2 === 1
    return swaps && isOdd ? swappedOrder(stages) : normalOrder(stages)
  })
}

/** The stages between which microbatches pass directly: for each stage, those before and after it in some order. */
export function neighbouringStages(run: Pick<Run, 'stages' | 'recovery'>): ReadonlySet<number>[] {
  const { stages, recovery } = run
  const orders = [normalOrder(stages)]
  if (isSwapped(recovery)) orders.push(swappedOrder(stages))
  const neighbours = Array.from({ length: stages + 1 }, () => new Set<number>())
  for (const order of orders) {
    const path = [0, ...order, 0]
    for (const [i, stage] of path.slice(1).entries()) {
      neighbours[path[i]!]!.add(stage)
      neighbours[stage]!.add(path[i]!)
    }
  }
  return neighbours
}

function isSwapped({ policy }: Run['recovery']): boolean {
  return rowsOf(policy).some(({ order }) => order === 'swapped')
}

/**
 * A journey for each order, spread over the holders of each stage by their speeds. Every stage must have a holder.
 * @param isAvoided true if the member should not work on the microbatch as long as its stage has another holder
 */
export function planJourneys(
  roster: Roster,
  orders: readonly Order[],
  speedOf: SpeedOf,
  isAvoided: (index: number, id: number) => boolean = () => false,
): Journey[] {
  const pick = picker(roster, new Map(), speedOf)
  return orders.map((order, index) => {
    const avoided = (id: number) => isAvoided(index, id)
    return {
      index,
      attempt: 0,
      driver: pick(0, avoided),
      route: order.map((stage) => ({ stage, id: pick(stage, avoided) })),
    }
  })
}

/** True if the member takes part in the microbatch's journey. */
function visits({ route, driver }: Journey, { id, stage }: Member): boolean {
  if (stage === 0) return driver === id
  return route.some((hop) => hop.stage === stage && hop.id === id)
}

/** A member's part of a plan: the indices of the microbatches that it counts, and the journeys that it drives. */
export function partOf(journeys: readonly Journey[], member: Member) {
  const visiting = journeys.filter((journey) => visits(journey, member))
  const expected = visiting.map(({ index }) => index)
  return { expected, drives: member.stage === 0 ? visiting : [] }
}

/**
 * True if a member works on the microbatch, and sends it to the other one, forward or backward.
 * @param to null for a member that could not compute it
 */
export function sends({ driver, route }: Journey, from: number, to: number | null): boolean {
  const hops = [driver, ...route.map(({ id }) => id), driver]
  return hops.some(
    (id, i) => id === from && (to === null || hops[i - 1] === to || hops[i + 1] === to),
  )
}

/** The links that a step by this plan uses: from hop to hop, there and back, and among the replicas of each stage. */
export function linksOf(journeys: readonly Journey[], roster: Roster): Link[] {
  const pairs = new Map<string, readonly [number, number]>()
  const use = (a: number, b: number) => {
    if (a === b) return
    pairs.set(`${a} ${b}`, [a, b])
    pairs.set(`${b} ${a}`, [b, a])
  }
  for (const { driver, route } of journeys) {
    const path = [driver, ...route.map(({ id }) => id), driver]
    for (let i = 1; i < path.length; i++) use(path[i - 1]!, path[i]!)
  }
  const stages = new Set(roster.members.flatMap(({ stage, ready }) => (ready ? (stage ?? []) : [])))
  for (const stage of stages) {
    const holders = holdersOf(roster, stage)
    for (const { id } of holders) for (const other of holders) use(id, other.id)
  }
  return [...pairs.values()].flatMap(([a, b]) => {
    const [from, to] = [memberById(roster, a), memberById(roster, b)]
    return from === undefined || to === undefined ? [] : [{ from, to }]
  })
}

/**
 * The same plan for a roster that lacks some members. A microbatch that visited one of them is driven again, and other
 * holders replace only the lost ones. Null if a stage has no holder left.
 */
export function replan(
  journeys: readonly Journey[],
  roster: Roster,
  speedOf: SpeedOf,
): Journey[] | null {
  const present = new Set(roster.members.map(({ id }) => id))
  const loads = new Map<number, number>()
  for (const { driver, route } of journeys) {
    for (const id of [driver, ...route.map((hop) => hop.id)]) {
      if (present.has(id)) loads.set(id, (loads.get(id) ?? 0) + 1)
    }
  }
  const pick = picker(roster, loads, speedOf)
  const next: Journey[] = []
  for (const journey of journeys) {
    const visited = [journey.driver, ...journey.route.map(({ id }) => id)]
    if (visited.every((id) => present.has(id))) {
      next.push(journey)
      continue
    }
    const stages = [0, ...journey.route.map(({ stage }) => stage)]
    if (stages.some((stage) => holdersOf(roster, stage).length === 0)) return null
    const replace = (stage: number, id: number) => (present.has(id) ? id : pick(stage))
    next.push({
      index: journey.index,
      attempt: journey.attempt + 1,
      driver: replace(0, journey.driver),
      route: journey.route.map(({ stage, id }) => ({ stage, id: replace(stage, id) })),
    })
  }
  return next
}

/**
 * Gives the holder of a stage that would be done first with one more microbatch. A stage's holders and speeds are looked up
 * once a plan, since each microbatch asks at every stage.
 */
function picker(
  roster: Roster,
  loads: Loads,
  speedOf: SpeedOf,
): (stage: number, isAvoided?: (id: number) => boolean) => number {
  const stages = new Map<number, Holders>()
  return (stage, isAvoided = () => false) => {
    let holders = stages.get(stage)
    if (holders === undefined) {
      holders = holdersIn(roster, stage, loads, speedOf)
      stages.set(stage, holders)
    }
    const { ids, speeds, given } = holders
    let best = 0
    let soonest = Number.POSITIVE_INFINITY
    const all = ids.every(isAvoided)
    for (let i = 0; i < ids.length; i++) {
      const done = (given[i]! + 1) / speeds[i]!
      if (done < soonest && (all || !isAvoided(ids[i]!))) [best, soonest] = [i, done]
    }
    given[best]!++
    return ids[best]!
  }
}

/** The holders of one stage, in the order of the roster. */
interface Holders {
  readonly ids: readonly number[]
  readonly speeds: readonly number[]
  /** Number of microbatches that each has. */
  readonly given: number[]
}

function holdersIn(roster: Roster, stage: number, loads: Loads, speedOf: SpeedOf): Holders {
  const ids = holdersOf(roster, stage).map(({ id }) => id)
  const known = ids.flatMap((id) => speedOf(id) ?? [])
  // A holder that has not been measured counts as the mean of its stage.
  const typical = known.length === 0 ? 1 : known.reduce((a, b) => a + b, 0) / known.length
  return {
    ids,
    speeds: ids.map((id) => speedOf(id) ?? typical),
    given: ids.map((id) => loads.get(id) ?? 0),
  }
}
