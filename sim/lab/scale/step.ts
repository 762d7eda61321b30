/** One step of a modelled swarm, in the order of `src/coordinator/step.ts`: the passes, the totals, the commit. */
import type { Journey } from '../../../protocols/step.ts'
import { ordersOf, planJourneys, replan } from '../../../src/coordinator/journeys.ts'
import type { MembersChange } from '../../../src/coordinator/next-action.ts'
import type { Speeds } from '../../../src/coordinator/speeds.ts'
import { understudiesOf } from '../../../src/copies/understudies.ts'
import { holdersOf, learnersOf } from '../../../src/membership/roster.ts'
import { reduceMs } from './reducing.ts'
import { Round } from './round.ts'
import type { Swarm } from './swarm.ts'
import { type Course, Gate } from './timeline.ts'
import type { Upkeep } from './upkeep.ts'

/** The coordinator, as far as a step needs it. */
export interface Stepping {
  readonly swarm: Swarm
  readonly upkeep: Upkeep
  readonly speeds: Speeds
  /** Ids of members that are lost and still in the roster. */
  readonly lost: ReadonlySet<number>
  /** Opens when a holder is lost. */
  readonly interrupted: Gate
  /** Closes `interrupted`: the losses so far are known. */
  closeInterrupted(): void
  /** Lets lost members out and newcomers in. */
  changeMembers(asked: Pick<MembersChange, 'assign'>): Course
  commit(step: number): Course
}

/** Thrown when the step has to start over. */
export class Aborted extends Error {}

/** @throws Aborted if the step has to start over */
export function* makeStep(coordinator: Stepping): Course {
  const { swarm, upkeep, speeds } = coordinator
  const { run } = swarm.setting
  const step = swarm.roster.committed + 1
  const speedOf = (id: number) => speeds.of(id)
  let journeys = planJourneys(swarm.roster, ordersOf(run, step), speedOf)
  const round = new Round({
    timeline: swarm.timeline,
    wires: swarm.wires,
    setting: swarm.setting,
    coordinator: swarm.coordinator,
    peerOf: (id) => swarm.peerOf(id),
    isAlone: (stage) => isAlone(swarm, stage),
    sent: (bytes) => {
      swarm.bytes.activations += bytes
    },
  })
  try {
    round.tell(journeys, swarm.farthestMs)
    for (;;) {
      if (!coordinator.interrupted.isOpen) yield [round.prepared, coordinator.interrupted]
      if (!coordinator.interrupted.isOpen) {
        const reduced = new Gate()
        swarm.timeline.schedule(reduceMs(swarm, upkeep, round.shares), () => reduced.open())
        yield [reduced, coordinator.interrupted]
      }
      if (!coordinator.interrupted.isOpen) break
      journeys = yield* mend(coordinator, journeys)
      round.tell(journeys, swarm.farthestMs)
    }
  } finally {
    round.end()
  }
  for (const { id, counted, busySeconds } of round.shares) speeds.note(id, counted, busySeconds)
  yield* coordinator.commit(step)
  const savingMs = upkeep.committed()
  if (savingMs > 0) yield savingMs
  swarm.stepMade()
}

/** True if the stage has one holder and nobody else needs its total. */
function isAlone({ roster, setting }: Swarm, stage: number): boolean {
  const others =
    learnersOf(roster, stage).length + understudiesOf(setting.run, roster, stage).length
  return holdersOf(roster, stage).length === 1 && others === 0
}

/** Changes the plan for a roster without the lost members. @throws Aborted if a stage has no holder left */
function* mend(coordinator: Stepping, journeys: readonly Journey[]): Course<Journey[]> {
  const { swarm, speeds, lost } = coordinator
  coordinator.closeInterrupted()
  for (const id of lost) {
    const stage = swarm.roster.members.find((member) => member.id === id)?.stage ?? null
    if (stage === null) continue
    const left = holdersOf(swarm.roster, stage).filter((each) => !lost.has(each.id))
    if (left.length === 0) throw new Aborted()
  }
  yield* coordinator.changeMembers({})
  const mended = replan(journeys, swarm.roster, (id) => speeds.of(id))
  if (mended === null) throw new Aborted()
  return mended
}
