/** Draws the time that each strategy takes to reach the target loss. */
import type { Summary } from '../results.ts'
import { barChart } from './bars.ts'
import { inUnit, significant, timeUnit, withMargin } from './format.ts'
import type { Looks } from './look.ts'
import type { Markup } from './markup.ts'

export function timeToTarget(
  summaries: readonly Summary[],
  looks: Looks,
  targetLoss: number,
): Markup {
  const unit = timeUnit(Math.max(0, ...summaries.map((each) => each.hoursToTarget?.mean ?? 0)))
  const some = summaries.some(({ reached, seeds }) => reached > 0 && reached < seeds)
  const bars = summaries.map(({ strategy: name, hoursToTarget, reached, seeds }) => {
    const look = looks.get(name)!
    if (hoursToTarget === null) {
      return { name, look, value: null, text: `not reached, ${reached} of ${seeds} seeds` }
    }
    const value = inUnit(hoursToTarget, unit)
    const hollow = reached < seeds
    const text = withMargin(value)
    return { name, look, value, hollow, text: hollow ? `${text} (${reached}/${seeds})` : text }
  })
  return barChart(
    {
      kind: 'time-to-target',
      title: `Time to a loss of ${significant(targetLoss)}`,
      note: some
        ? 'Mean and 95 % interval over seeds. An outline means that some seeds did not reach the loss, and the mean covers the others.'
        : 'Mean and 95 % interval over seeds.',
    },
    bars,
    `virtual time, ${unit.name}`,
  )
}
