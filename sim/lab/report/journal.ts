/** Writes the events of all trials as JSON lines for other programs; each trial's events are in order of time. */
import type { Results } from '../results.ts'

export function journalLines(results: Results): string {
  const lines = results.trials.flatMap(
    ({ strategy, failures, seed, losses, recoveries, curve }) => {
      const of = { strategy, failures, seed }
      const events = [
        ...losses.map((loss) => ({ type: 'lost', ...loss, ...of })),
        ...recoveries.map((recovery) => ({
          type: 'held',
          ...recovery,
          by: recovery.strategy,
          ...of,
        })),
        ...curve.map(([iteration, hours, loss]) => ({
          type: 'evaluation',
          hours,
          iteration,
          loss,
          ...of,
        })),
      ]
      return events.sort((a, b) => a.hours - b.hours).map((event) => `${JSON.stringify(event)}\n`)
    },
  )
  return lines.join('')
}
