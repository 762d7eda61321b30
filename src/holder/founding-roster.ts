/** The first roster of an incarnation, and whether it can have every stage. */
import type { CopyName } from '../../protocols/copies.ts'
import type { HeldState } from '../../protocols/incarnation.ts'
import type { Member, Roster } from '../../protocols/membership.ts'
import type { Network } from '../../protocols/network.ts'
import type { Store } from '../checkpoint/store.ts'
import { isFresh, isRestored } from '../membership/roster.ts'
import { choose, withDisks } from '../recovery/index.ts'
import type { Run } from '../run/run.ts'

/**
 * The first roster of an incarnation. A holder keeps its stage if the stage is as after the last step. All other members
 * become spares.
 * @param before the latest roster that the members know
 * @param held what each member that is left holds, by id
 * @param founder id of the member that coordinates
 */
export function foundingRoster(
  before: Roster,
  held: ReadonlyMap<number, HeldState | null>,
  founder: number,
): Roster {
  const epoch = before.epoch + 1
  const members = before.members.flatMap((member) => {
    const state = held.get(member.id)
    if (state === undefined) return []
    return keepsStage(before, member, state) ? [member] : [{ ...member, stage: null, ready: true }]
  })
  const ballot = { round: before.ballot.round + 1, id: founder }
  return { ...before, epoch, fenceEpoch: epoch, coordinator: founder, ballot, members }
}

function keepsStage({ committed }: Roster, { stage, ready }: Member, held: HeldState | null) {
  return ready && held?.live === true && held.stage === stage && held.step === committed
}

interface Left {
  readonly member: Member
  readonly answer: { readonly held: HeldState | null; readonly copies: readonly CopyName[] }
}

interface LackingOptions {
  readonly run: Run
  readonly network: Network
  readonly checkpoints?: Store | null
  held(): HeldState | null
  copies(): readonly CopyName[]
}

/** The stages that neither a member that is left nor a strategy of the policy can bring, for people; null if there is none. */
export function lackingStages(
  { run, network, checkpoints = null, ...mine }: LackingOptions,
  roster: Roster,
  own: Member,
  left: readonly Left[],
): string | null {
  // Before the first step every stage is made from the seed, or from the checkpoint that the run was started from.
  if (isFresh(roster)) return null
  const all = [{ member: own, answer: { held: mine.held(), copies: mine.copies() } }, ...left]
  const live = new Set(
    all.flatMap(({ member, answer }) =>
      keepsStage(roster, member, answer.held) ? (member.stage ?? []) : [],
    ),
  )
  const { committed } = roster
  const copies = all.flatMap(({ member, answer }) =>
    answer.copies.flatMap((copy) => (copy.step <= committed ? { ...copy, peer: member.peer } : [])),
  )
  const noCheckpoint = checkpoints === null ? `${network.self} has no store` : null
  const lacking = Array.from({ length: run.stages + 1 }, (_, stage) => stage).filter((stage) => {
    if (live.has(stage)) return false
    const loss = { stage, bodyStages: run.stages, live, committed, copies, noCheckpoint }
    const policy = isRestored(roster) ? ['checkpoint'] : withDisks(run.recovery.policy, loss)
    return choose(policy, loss, run.recovery).chosen === null
  })
  if (lacking.length === 0) return null
  const which = `stage${lacking.length > 1 ? 's' : ''} ${lacking.join(', ')}`
  return `they have neither ${which} nor copies that could bring it back. Start the missing peers again`
}
