/** Finds out, before spares are given stages, whether they and their neighbours reach each other. */
import type { Member, Roster } from '../../protocols/membership.ts'
import { REACH_MAX } from '../../protocols/reach.ts'
import { TIMEOUTS } from '../base/limits.ts'
import { holdersOf } from '../membership/roster.ts'
import type { BrokenLinks } from './broken-links.ts'
import type { ChangeSignal } from './change-signal.ts'
import type { Match } from './placement.ts'
import { type FailedLink, failingLinks, type ReachOptions } from './reach-members.ts'
import type { Teller } from './teller.ts'

export interface VettingOptions extends ReachOptions {
  readonly teller: Teller
  readonly changed: ChangeSignal
  readonly broken: BrokenLinks
  /** The stages between which microbatches pass directly, by stage. */
  readonly neighbours: readonly ReadonlySet<number>[]
}

/** @returns ids of the spares that cannot take their stage now. The links that failed are remembered as broken. */
export async function vet(
  options: VettingOptions,
  matches: readonly Match[],
): Promise<ReadonlySet<number>> {
  const failed = await Promise.all(matches.map((match) => vetOne(options, match, matches)))
  return new Set(matches.flatMap(({ member }, i) => (failed[i]!.length > 0 ? [member.id] : [])))
}

async function vetOne(
  options: VettingOptions,
  match: Match,
  matches: readonly Match[],
): Promise<FailedLink[]> {
  const { acceptor, signal } = options
  const { member } = match
  const near = nearMembers(options, acceptor.roster, match, matches)
  // Both directions at once: a spare that nobody can dial connects to its neighbours by trying them itself.
  const links = near.flatMap((other) => [
    { from: member, to: other },
    { from: other, to: member },
  ])
  const failed = await failingLinks(options, links, {
    probeMs: TIMEOUTS.vetMs,
    hangUp: false,
  })
  if (signal.aborted) return []
  for (const link of failed) remember(options, member, link)
  return failed
}

/** The members that would exchange tensors with the spare. */
function nearMembers(
  { neighbours }: VettingOptions,
  roster: Roster,
  { stage, member }: Match,
  matches: readonly Match[],
): Member[] {
  const stages = new Set([stage, ...neighbours[stage]!])
  const holders = [...stages].flatMap((each) => holdersOf(roster, each))
  const coming = matches.flatMap((match) => (stages.has(match.stage) ? match.member : []))
  return [...holders, ...coming].filter(({ id }) => id !== member.id).slice(0, REACH_MAX)
}

function remember(options: VettingOptions, spare: Member, { from, to, reason }: FailedLink): void {
  const { broken, teller, clock, signal, changed } = options
  const ms = broken.add(from.peer, to.peer, reason)
  const other = from === spare ? to : from
  const seconds = Math.round(ms / 1000)
  teller.tell(
    `${spare.peer} gets no stage beside ${other.peer} for ${seconds} s: ${from.peer} cannot reach ${to.peer} (${reason}). Let one of the two be reached from outside`,
  )
  // The link may work again then, and nothing else may change.
  void clock.sleep(ms + 1, signal).then(
    () => changed.notify(),
    () => {},
  )
}
