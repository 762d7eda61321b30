/**
 * Watches a step that takes longer than usual. All members are told for whom the step waits. If no holder has work, a link
 * between two holders may be broken, and the links are tried. A holder that is far slower than usual is let go.
 */
import type { Clock } from '../../protocols/clock.ts'
import type { Member } from '../../protocols/membership.ts'
import {
  HUNG_ALONE_FACTOR,
  HUNG_FACTOR,
  LOOK_FACTOR,
  STRAGGLER_FACTOR,
  TIMEOUTS,
} from '../base/limits.ts'
import type { Work } from '../holder/services.ts'
import { holdersOf, sparesOf } from '../membership/roster.ts'
import type { Coordinator } from './coordinator.ts'
import type { Link } from './reach-members.ts'

/** What is watched of a step. */
export interface WatchedStep {
  /** Holders whose answers are missing. */
  readonly waitedFor: ReadonlySet<Member>
  /** The links that the step uses. */
  links(): Link[]
  /** Names the present version of the plan. */
  readonly incident: string
  /** The step cannot be made as it was planned. */
  fail(reason: string): void
}

/** A holder that has work while others wait. */
interface Busy extends Work {
  readonly member: Member
}

/** Watches until the signal aborts. */
export async function watchStep(
  coordinator: Coordinator,
  clock: Clock,
  step: WatchedStep,
  over: AbortSignal,
): Promise<void> {
  const { stepMs } = coordinator
  const lookMs = Math.max(TIMEOUTS.lookMs, LOOK_FACTOR * (stepMs ?? TIMEOUTS.lookMs))
  const stragglerMs = Math.max(TIMEOUTS.stragglerMs, STRAGGLER_FACTOR * (stepMs ?? TIMEOUTS.stepMs))
  const begun = clock.now()
  let stragglerDueAt = begun + stragglerMs
  while (!over.aborted) {
    await clock.sleep(lookMs, over).catch(() => {})
    if (over.aborted) return
    const busy = await busyOf(coordinator, step)
    if (over.aborted) return
    tellWaiting(coordinator, busy)
    if (busy.length === 0) await tryLinks(coordinator, step)
    await dropHung(coordinator, busy, step)
    if (clock.now() < stragglerDueAt) continue
    stragglerDueAt = clock.now() + stragglerMs
    dropStraggler(coordinator, busy, stragglerMs)
  }
}

/** Holders that the step waits for and that have work; the others wait themselves. */
async function busyOf({ health }: Coordinator, { waitedFor }: WatchedStep): Promise<Busy[]> {
  const looked = await Promise.all(
    [...waitedFor].map(async (member) => {
      const work = await health.workOf(member)
      return work === null || work.queuedWork === 0 ? [] : [{ ...work, member }]
    }),
  )
  return looked.flat()
}

function tellWaiting({ teller, fence }: Coordinator, busy: readonly Busy[]): void {
  const who = busy.map(({ member }) => `${member.peer} (stage ${member.stage})`)
  teller.tell(
    who.length === 0
      ? `step ${fence.step} takes long, and no holder has work: the links between the holders are tried`
      : `step ${fence.step} takes long, and waits for ${who.join(', ')}`,
  )
}

/** No holder has work, so that microbatches are on their way. A link may have swallowed them. */
async function tryLinks({ links }: Coordinator, step: WatchedStep): Promise<void> {
  const broken = await links.tryAll(step.links(), step.incident)
  if (broken !== null) step.fail(broken)
}

/** Loses one holder that others wait for, if its stage has another holder, which takes over its microbatches. */
function dropStraggler(
  { health, roster }: Coordinator,
  busy: readonly Busy[],
  afterMs: number,
): void {
  for (const { member, queuedWork } of busy) {
    const others = othersOf({ health, roster }, member)
    if (others.length === 0 || member.id === roster.coordinator) continue
    const reason = `the step waits for it: ${queuedWork} microbatches are queued there after ${afterMs} ms`
    health.lose(member.peer, reason)
    return
  }
}

/** Lets go holders that have worked on one microbatch for far longer than they usually need. */
async function dropHung(
  coordinator: Coordinator,
  busy: readonly Busy[],
  step: WatchedStep,
): Promise<void> {
  for (const { member, workingMs } of busy) {
    if (workingMs <= hungAfterMs(coordinator, member)) continue
    const seconds = Math.round(workingMs / 1000)
    const reason = `its compute hangs: it has worked on one microbatch for ${seconds} s`
    try {
      await coordinator.removal.remove(member, reason)
      // The loss of another holder ends the step by itself.
      if (member.id === coordinator.roster.coordinator) step.fail(reason)
    } catch (error) {
      const why = (error as Error).message
      coordinator.teller.tell(`stage ${member.stage} cannot be taken from ${member.peer}: ${why}`)
    }
  }
}

/** Milliseconds of work on one microbatch after which the holder is hung. */
function hungAfterMs(coordinator: Coordinator, member: Member): number {
  const { speeds, roster } = coordinator
  const known = speeds.of(member.id) ?? speeds.slowest
  const usualMs =
    known === undefined
      ? TIMEOUTS.hungFirstMs
      : Math.max(TIMEOUTS.hungMs, (HUNG_FACTOR * 1000) / known)
  const hasOther = othersOf(coordinator, member).length > 0 || sparesOf(roster).length > 0
  return hasOther ? usualMs : HUNG_ALONE_FACTOR * usualMs
}

function othersOf({ health, roster }: Pick<Coordinator, 'health' | 'roster'>, member: Member) {
  return holdersOf(roster, member.stage!).filter(
    ({ id }) => id !== member.id && !health.lost.has(id),
  )
}
