/** Extracts from a swarm's journal the facts that a live run and its simulation must agree on. */
import type { Entry } from '../../../src/base/journal.ts'
import { median } from '../statistics.ts'

export interface Told {
  /** Median seconds from the end of a step to the end of the next, after the warm-up. */
  readonly secondsAStep: number
  /** Training loss of each step, in order. */
  readonly losses: readonly number[]
  /** Recoveries of lost stages. */
  readonly recoveries: readonly ToldRecovery[]
}

interface ToldRecovery {
  readonly stage: number
  /** Last step before the stage was held again. */
  readonly step: number
  readonly strategy: string
  /** Step whose weights the stage has after the recovery. */
  readonly ofStep: number
}

/**
 * Extracts the facts from a journal.
 * @param entries journal entries of the coordinator; entries of other types are ignored
 * @param warmUp number of steps whose time does not count
 */
export function toldBy(entries: readonly Entry[], warmUp: number): Told {
  const made: { at: number; loss: number }[] = []
  const recoveries: ToldRecovery[] = []
  for (const entry of entries) {
    if (entry.type === 'step') made.push(entry)
    if (entry.type !== 'held' || entry.cause !== 'lost') continue
    const { stage, strategy, ofStep } = entry
    recoveries.push({ stage, step: made.length, strategy, ofStep })
  }
  const seconds = made.slice(1).map(({ at }, i) => (at - made[i]!.at) / 1000)
  return {
    secondsAStep: median(seconds.slice(warmUp)),
    losses: made.map(({ loss }) => loss),
    recoveries,
  }
}

/** Number of steps at the beginning whose losses are bitwise equal. */
export function sameLosses(a: Told, b: Told): number {
  const other = a.losses.findIndex((loss, step) => loss !== b.losses[step])
  return other < 0 ? a.losses.length : other
}
