/** `gensyn-node sim --scenario`: plays a scenario and writes its report into a folder. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { replaceFile } from '../../src/base/atomic-file.ts'
import type { Terminal } from '../../src/base/terminal.ts'
import { Progress } from '../jobs/progress.ts'
import { examine } from './laboratory.ts'
import { csvFiles } from './report/csv.ts'
import { withMargin } from './report/format.ts'
import { journalLines } from './report/journal.ts'
import { reportHtml } from './report/page.ts'
import type { Results } from './results.ts'
import { loadScenario } from './scenario.ts'

export interface LabOptions {
  readonly scenario: string
  /** Folder of the report. */
  readonly out?: string | undefined
  /** Folder of the outcomes of earlier trials. */
  readonly cache: string
  readonly workers: number
  /** Values that replace settings, by the paths of the settings. */
  readonly set?: Readonly<Record<string, unknown>> | undefined
}

export async function runScenario(options: LabOptions, terminal: Terminal): Promise<void> {
  const loaded = loadScenario(options.scenario, options.set)
  const results = await examine(loaded, {
    workers: options.workers,
    cache: options.cache,
    progress: (tasks) => new Progress(terminal, tasks),
  })
  const out = options.out ?? `sim-${loaded.scenario.name}`
  mkdirSync(out, { recursive: true })
  const files = [
    { name: 'results.json', text: `${JSON.stringify(results, null, 1)}\n` },
    { name: 'report.html', text: reportHtml(results) },
    { name: 'journal.jsonl', text: journalLines(results) },
    ...csvFiles(results),
  ]
  for (const { name, text } of files) replaceFile(join(out, name), text)
  for (const line of tableOf(results)) terminal.line(line)
  for (const { failures, sentence } of results.recommendations) {
    terminal.line(`${failures}: ${sentence}`)
  }
  const report = join(out, 'report.html')
  terminal.event({ type: 'simulated', report, summary: results.summary })
  terminal.line(
    `${report} has the curves; beside it are ${files.map(({ name }) => name).join(', ')}`,
  )
}

function tableOf({ summary, targetLoss }: Results): string[] {
  const columns = [24, 24, 22, 16, 10]
  const line = (cells: readonly string[]) =>
    cells.map((cell, i) => (i < 2 ? cell.padEnd(columns[i]!) : cell.padStart(columns[i]!))).join('')
  const target = targetLoss === null ? '' : ` to ${targetLoss}`
  return [
    line(['failures', 'strategy', `hours${target}`, 'final loss', 'goodput']),
    ...summary.map(({ failures, strategy, seeds, reached, hoursToTarget, finalLoss, goodput }) => {
      const hours =
        hoursToTarget === null
          ? 'not reached'
          : `${withMargin(hoursToTarget)}${reached < seeds ? ` (${reached} of ${seeds})` : ''}`
      const loss = finalLoss === null ? '' : finalLoss.mean.toFixed(3)
      return line([failures, strategy, hours, loss, goodput.mean.toFixed(2)])
    }),
  ]
}
