/** Draws the time that a lost stage is without a holder under each strategy. */

import type { TrialResult } from '../results.ts'
import { estimate } from '../statistics.ts'
import { estimateOf } from '../summary.ts'
import { barChart } from './bars.ts'
import { inUnit, timeUnit, withMargin } from './format.ts'
import type { Looks } from './look.ts'
import type { Markup } from './markup.ts'

const SECONDS_PER_HOUR = 3600

/** @returns null if no stage was recovered */
export function recoveryTime(trials: readonly TrialResult[], looks: Looks): Markup | null {
  const groups = [...Map.groupBy(trials, ({ strategy }) => strategy)].map(([name, own]) => {
    // Each seed counts as one mean: recoveries of the same seed are not independent samples.
    const means = own.flatMap((trial) => meanHours(trial) ?? [])
    return { name, value: estimateOf(means) }
  })
  const longest = Math.max(0, ...groups.map(({ value }) => value?.mean ?? 0))
  if (groups.every(({ value }) => value === null)) return null
  const unit = timeUnit(longest)
  const bars = groups.map(({ name, value }) => {
    const look = looks.get(name)!
    if (value === null) return { name, look, value, text: 'no recovery' }
    const shown = inUnit(value, unit)
    return { name, look, value: shown, text: withMargin(shown) }
  })
  return barChart(
    {
      kind: 'recovery-time',
      title: 'Time of a recovery',
      note: 'Time from a loss until the stage is held again, as a mean of the means of the seeds.',
    },
    bars,
    `virtual time, ${unit.name}`,
  )
}

function meanHours({ recoveries }: TrialResult): number | null {
  const seconds = recoveries.flatMap((recovery) => recovery.seconds ?? [])
  return seconds.length === 0 ? null : estimate(seconds).mean / SECONDS_PER_HOUR
}
