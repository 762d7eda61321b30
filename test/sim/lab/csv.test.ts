/** Reads the CSV files back with a separate parser of RFC 4180. */
import { expect, test } from 'vitest'
import { csvFiles } from '../../../sim/lab/report/csv.ts'
import { sampleResults } from '../../fixtures/results.ts'

/** Rows as objects with the names of the first line. The parser accepts the grammar of RFC 4180 and nothing else. */
function parsed(text: string): Record<string, string>[] {
  const rows: string[][] = []
  for (const line of text.match(/(?:"(?:[^"]|"")*"|[^"\r])*\r\n/g)!) {
    const fields = line.slice(0, -2).match(/(?<=^|,)(?:"(?:[^"]|"")*"|[^",]*)(?=,|$)/gs)!
    rows.push(
      fields.map((each) => (each[0] === '"' ? each.slice(1, -1).replaceAll('""', '"') : each)),
    )
  }
  const [head, ...body] = rows
  return body.map((row) => {
    expect(row.length).toBe(head!.length)
    return Object.fromEntries(head!.map((name, i) => [name, row[i]!]))
  })
}

test('hold what the results hold, whatever names there are', () => {
  const results = sampleResults({ seeds: 2 })
  const [trial] = results.trials
  trial!.strategy = 'with "quotes", commas\r\nand lines'
  trial!.failure = ','
  const files = Object.fromEntries(csvFiles(results).map(({ name, text }) => [name, parsed(text)]))
  expect(Object.keys(files)).toEqual(['trials.csv', 'curves.csv', 'recoveries.csv', 'summary.csv'])

  expect(files['trials.csv']!.length).toBe(results.trials.length)
  expect(files['trials.csv']![0]).toMatchObject({
    strategy: trial!.strategy,
    failures: trial!.failures,
    seed: '1',
    losses: String(trial!.losses.length),
    hours: String(trial!.hours),
    hours_to_target: String(trial!.reached?.hours ?? ''),
    bytes_per_iteration_activations: String(trial!.bytesPerIteration.activations),
    failure: ',',
  })

  const points = results.trials.flatMap(({ curve }) => curve)
  expect(
    files['curves.csv']!.map(({ iterations, hours, loss }) =>
      [iterations, hours, loss].map(Number),
    ),
  ).toEqual(points)

  const recoveries = results.trials.flatMap((each) => each.recoveries)
  expect(
    files['recoveries.csv']!.map((row) => [row.recovered_by, Number(row.bytes), row.skipped]),
  ).toEqual(recoveries.map((each) => [each.strategy, each.bytes, each.skipped.join(' ')]))

  const margins = files['summary.csv']!.map((row) => row.hours_to_target_margin)
  expect(margins).toEqual(
    results.summary.map(({ hoursToTarget }) => String(hoursToTarget?.margin ?? '')),
  )
})
