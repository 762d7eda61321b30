/** Draws the share of time that each strategy spends on iterations that are not rolled back. */
import type { Summary } from '../results.ts'
import { barChart } from './bars.ts'
import { withMargin } from './format.ts'
import type { Looks } from './look.ts'
import type { Markup } from './markup.ts'

const PERCENT = 100

export function goodput(summaries: readonly Summary[], looks: Looks): Markup {
  const bars = summaries.map(({ strategy: name, goodput: { mean, margin } }) => {
    const value = { mean: PERCENT * mean, margin: margin === null ? null : PERCENT * margin }
    return { name, look: looks.get(name)!, value, text: withMargin(value) }
  })
  return barChart(
    {
      kind: 'goodput',
      title: 'Goodput',
      note: 'Share of all hours: the time that the surviving iterations would take without disturbance.',
    },
    bars,
    'share of the time, %',
    PERCENT,
  )
}
