/** What a swarm's journal tells that a live run and its simulation must agree on. */
import type { Entry } from '../../../src/base/journal.ts'
import { median } from '../statistics.ts'

export interface Told {
  /** From one step's end to the next, of those after the warm-up. */
  readonly secondsAStep: number
  /** Training loss of each step, in order. */
  readonly losses: readonly number[]
  /** Of stages that were lost. */
  readonly recoveries: readonly ToldRecovery[]
}

interface ToldRecovery {
  readonly stage: number
  /** The last that was made before the stage was held again. */
  readonly step: number
  readonly strategy: string
  /** That the weights are of. */
  readonly ofStep: number
}

/** @param entries of whoever coordinated; others may be among them @param warmUp steps whose time does not count */
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

/** Steps at the beginning whose losses are the same, to the last bit. */
export function sameLosses(a: Told, b: Told): number {
  const other = a.losses.findIndex((loss, step) => loss !== b.losses[step])
  return other < 0 ? a.losses.length : other
}
