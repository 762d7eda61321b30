/** Prints a history as lines, for debugging. */
import type { Entry } from '../../src/base/journal.ts'
import type { Case } from './case.ts'
import type { Outcome } from './play.ts'

export function storyOf({ seed, peers, run, faults }: Case, outcome: Outcome): string[] {
  const { story, violation, events, virtualMs } = outcome
  const { stages, microbatches, steps, spares } = run
  return [
    `seed ${seed}: ${peers} peers, ${stages} body stages, ${spares} spares, ${steps} steps of ${microbatches} microbatches; ${faults.join(', ')}`,
    ...story.map(
      (entry) => `${Math.round(entry.at)} ${'fault' in entry ? entry.fault : lineOf(entry)}`,
    ),
    `${events} events, ${Math.round(virtualMs / 1000)} virtual seconds`,
    violation === null ? 'nothing is violated' : `${violation.invariant}: ${violation.what}`,
  ]
}

function lineOf(entry: Entry): string {
  const { at: _, peer, type, ...rest } = entry
  if (entry.type !== 'roster') return `${peer} ${type} ${JSON.stringify(rest)}`
  const { epoch, fenceEpoch, committed, coordinator, members } = entry.roster
  const all = members.map(({ id, peer, stage }) => `${id}:${peer}:${stage ?? '-'}`).join(' ')
  return `${peer} roster ${epoch} since ${fenceEpoch} after step ${committed} coordinator ${coordinator}: ${all} (${entry.reason})`
}
