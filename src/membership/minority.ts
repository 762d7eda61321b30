/** What a person reads where a majority is missing. */
import type { Roster } from '../../protocols/membership.ts'
import { shortName } from '../base/peer-name.ts'
import { memberById, votersOf } from './roster.ts'

/** What members do that are left without a majority, as the manifest says. */
export interface MinorityRule {
  readonly majority: 'goOn' | 'wait'
  readonly majoritySeconds: number
}

/** What comes of a missing majority, and what a person can do. */
export function outlook({ majority, majoritySeconds }: MinorityRule): string {
  return majority === 'wait'
    ? 'The manifest says wait: start the missing peers again'
    : `After ${majoritySeconds} s without a majority the peers that are left go on by themselves`
}

/** The voters that do not answer, for people. @param answering ids of the members that answer */
export function missingOf(roster: Roster, answering: ReadonlySet<number>): string {
  const missing = [...votersOf(roster)].flatMap((id) =>
    answering.has(id) ? [] : (memberById(roster, id) ?? []),
  )
  return missing
    .map(({ peer, stage }) =>
      stage === null ? shortName(peer) : `${shortName(peer)} of stage ${stage}`,
    )
    .join(', ')
}

/** Why a coordinator waits. @param answering ids of the members that answer */
export function minorityReason(
  roster: Roster,
  answering: ReadonlySet<number>,
  rule: MinorityRule,
): string {
  const voting = votersOf(roster)
  const present = [...voting].filter((id) => answering.has(id)).length
  const count = `only ${present} of ${voting.size} voting members answer`
  return `${count} (missing: ${missingOf(roster, answering)}). Without a majority nothing is committed or recovered. ${outlook(rule)}`
}
