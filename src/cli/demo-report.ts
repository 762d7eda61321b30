/** The report of a demo, and its summary for people. */
import { originOf } from '../node/view.ts'
import type { KillRecord, ProcessRecord, RunReport } from './report.ts'

/** Content of `demo-report.json` (docs/demo-report.md). */
export interface DemoReport extends RunReport {
  readonly format: 'gensyn-demo-report'
  readonly version: 2
  readonly runId: string
  readonly processes: readonly ProcessRecord[]
  readonly kills: readonly KillRecord[]
  readonly failure: string | null
}

/** Reason why the demo failed; null if every killed stage was rebuilt and every step was committed exactly once. */
export function failureOf({
  failure,
  committedOnce,
  kills,
  recoveries,
}: DemoReport): string | null {
  if (failure !== null) return failure
  if (!committedOnce) return 'not every step was committed exactly once: see the report'
  const lost = kills.find(({ stage }) => recoveries.every((recovery) => recovery.stage !== stage))
  if (lost !== undefined) return `stage ${lost.stage} was not rebuilt: see the report`
  return null
}

/** Lines with the most important figures, for people. */
export function summaryOf(report: DemoReport): string[] {
  const lines: [string, string][] = [
    [
      'steps',
      `${report.steps}, each committed ${report.committedOnce ? 'exactly once' : 'NOT exactly once'}`,
    ],
    ['training loss', `${loss(report.losses[0])} first, ${loss(report.losses.at(-1))} last`],
    [
      'held-out loss',
      `${loss(report.evaluations[0])} first, ${loss(report.evaluations.at(-1))} last, in nats a byte`,
    ],
    [
      'speed',
      `${Math.round(report.tokensPerSecond)} tokens/s over ${report.processes.length} processes`,
    ],
  ]
  for (const kill of report.kills) {
    lines.push(['killed', `stage ${kill.stage}, process ${kill.pid}, after step ${kill.step}`])
  }
  for (const recovery of report.recoveries) {
    lines.push(
      ...recovery.skipped.map(({ strategy, reason }): [string, string] => [
        'passed over',
        `${strategy} for stage ${recovery.stage}: ${reason}`,
      ]),
      [
        'recovered',
        `stage ${recovery.stage} by ${recovery.strategy}${originOf(recovery)}: ${recovery.bytes} bytes, held again after ${recovery.secondsSinceLoss?.toFixed(2)} s`,
      ],
      [
        'loss',
        `${recovery.lossBefore?.toFixed(4)} before, ${recovery.lossAfter?.toFixed(4)} in the first step after, ${recovery.stepsUntilBack === null ? 'not back by the end' : `back in ${recovery.stepsUntilBack} steps`}`,
      ],
    )
  }
  return lines.map(([name, value]) => `${name.padEnd(14)}${value}`)
}

function loss(entry: { loss: number } | undefined): string {
  return entry === undefined ? 'none' : entry.loss.toFixed(4)
}
