/** Writes the results as CSV by RFC 4180: a header line, CRLF line ends, and quotes where needed. */
import type { Results, Summary } from '../results.ts'

type Cell = string | number | null

interface CsvFile {
  readonly name: string
  readonly text: string
}

/**
 * Files trials.csv, curves.csv, recoveries.csv and summary.csv.
 * A null is an empty cell, and spaces separate several names in a cell.
 */
export function csvFiles(results: Results): CsvFile[] {
  return [
    { name: 'trials.csv', text: trialsCsv(results) },
    { name: 'curves.csv', text: curvesCsv(results) },
    { name: 'recoveries.csv', text: recoveriesCsv(results) },
    { name: 'summary.csv', text: summaryCsv(results) },
  ]
}

const KEY = ['strategy', 'failures', 'seed']

function trialsCsv({ trials }: Results): string {
  const purposes = [
    ...new Set(trials.flatMap(({ bytesPerIteration }) => Object.keys(bytesPerIteration))),
  ]
  const head = [
    ...KEY,
    'source',
    'losses',
    'recoveries',
    'iterations',
    'hours',
    'final_loss',
    'iterations_to_target',
    'hours_to_target',
    'goodput',
    ...purposes.map((purpose) => `bytes_per_iteration_${purpose}`),
    'failure',
  ]
  const rows = trials.map((trial) => [
    trial.strategy,
    trial.failures,
    trial.seed,
    trial.source,
    trial.losses.length,
    trial.recoveries.length,
    trial.iterations,
    trial.hours,
    trial.finalLoss,
    trial.reached?.iterations ?? null,
    trial.reached?.hours ?? null,
    trial.goodput,
    ...purposes.map((purpose) => trial.bytesPerIteration[purpose] ?? 0),
    trial.failure,
  ])
  return csv(head, rows)
}

function curvesCsv({ trials }: Results): string {
  const rows = trials.flatMap(({ strategy, failures, seed, curve }) =>
    curve.map((point) => [strategy, failures, seed, ...point]),
  )
  return csv([...KEY, 'iterations', 'hours', 'loss'], rows)
}

function recoveriesCsv({ trials }: Results): string {
  const head = [
    ...KEY,
    'iteration',
    'hours',
    'stage',
    'recovered_by',
    'skipped',
    'seconds',
    'bytes',
    'steps_lost',
    'weight_error',
    'loss_before',
    'loss_after',
  ]
  const rows = trials.flatMap(({ strategy, failures, seed, recoveries }) =>
    recoveries.map((each) => [
      strategy,
      failures,
      seed,
      each.iteration,
      each.hours,
      each.stage,
      each.strategy,
      each.skipped.join(' '),
      each.seconds,
      each.bytes,
      each.stepsLost,
      each.weightError,
      each.lossBefore,
      each.lossAfter,
    ]),
  )
  return csv(head, rows)
}

function summaryCsv({ summary }: Results): string {
  const estimates = ['hours_to_target', 'iterations_to_target', 'final_loss', 'goodput']
  const head = [
    'strategy',
    'failures',
    'seeds',
    'reached',
    ...estimates.flatMap((name) => [name, `${name}_margin`]),
    'losses',
    'megabytes_per_iteration',
  ]
  const both = (value: Summary['finalLoss']) => [value?.mean ?? null, value?.margin ?? null]
  const rows = summary.map((each) => [
    each.strategy,
    each.failures,
    each.seeds,
    each.reached,
    ...both(each.hoursToTarget),
    ...both(each.iterationsToTarget),
    ...both(each.finalLoss),
    ...both(each.goodput),
    each.losses,
    each.megabytesPerIteration,
  ])
  return csv(head, rows)
}

function csv(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return [head, ...rows].map((row) => `${row.map(field).join(',')}\r\n`).join('')
}

function field(cell: Cell): string {
  const text = cell === null ? '' : String(cell)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
