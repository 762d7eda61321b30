/** Writes the table as Markdown, for a terminal and for docs/STRATEGIES.md. */
import type { Estimate } from '../statistics.ts'
import type { Extent } from './plan.ts'
import {
  type Comparison,
  confirmationsOf,
  overheadsOf,
  type Played,
  type Row,
  rankingOf,
  rowsOf,
  TARGET_SHARE,
} from './table.ts'

/** Largest share above the undisturbed final loss at which a strategy counts as good as no failure. */
const CLOSE = 0.01
/** Largest cost of such a strategy while nothing fails, as a share of the time of a step. */
const CHEAP = 0.02

/** Largest relative difference between losses of a replay and a real run, whose sums have another order. */
const SAME = 1e-4

export function pageOf(extent: Extent, played: Played): string {
  const rows = rowsOf(extent, played)
  const overheads = overheadsOf(extent, played)
  const sections = [
    ['## Losses', ...lossTable(extent, rows)],
    ['## While nothing fails', ...overheadTable(overheads)],
    ['## Replays', ...replays(extent, played)],
    ['## Ranking of the ablation', ...ranking(rankingOf(extent, played))],
    ['## As good as no failure', ...verdict(rows, overheads)],
  ]
  return `${sections.map((lines) => lines.join('\n')).join('\n\n')}\n`
}

function lossTable({ steps }: Extent, rows: readonly Row[]): string[] {
  const target = TARGET_SHARE * steps
  const head = [
    'strategy',
    'p',
    'seeds',
    'failures',
    `loss at ${steps / 2}`,
    `at ${steps}`,
    'above none, %',
    'steps to target',
    'KB a recovery',
    's a recovery',
    'fall-backs, %',
  ]
  const body = rows.map(({ row, rate, ...it }) => [
    row.replay === undefined ? row.name : `${row.name} (replay)`,
    String(rate),
    String(it.final.count),
    it.failures.mean.toFixed(0),
    shown(it.halfWay, 3),
    shown(it.final, 3),
    row.name === 'none' ? '' : shown(it.above, 1, 100),
    reached(it, steps),
    it.recovery === null ? '' : (it.recovery.bytes / 1000).toFixed(0),
    it.recovery === null ? '' : it.recovery.seconds.toFixed(1),
    it.recovery === null ? '' : (100 * it.recovery.fallbacks).toFixed(0),
  ])
  const cases = [...new Set(rows.map(({ row }) => row))]
  return [
    '',
    ...markdown(head, body),
    '',
    ...cases.map(({ name, says }) => `- ${name}: ${says}`),
    '',
    'Losses are nats a byte on held-out text. Values are means over the seeds, with half of their 95 % confidence interval (Student). `above none` compares with the undisturbed run',
    `of the same seed. The loss of that run at step ${target} is the target. Seconds of a recovery are virtual, from the loss until the stage is held again. Fall-backs are recoveries that the first row`,
    'of the policy could not make, for example because two neighbours were lost at once.',
  ]
}

function reached({ toTarget, final }: Pick<Row, 'toTarget' | 'final'>, steps: number): string {
  if (toTarget.count === final.count) return shown(toTarget, 0)
  const few =
    toTarget.count === 0
      ? ''
      : ` (${toTarget.count} of ${final.count}: ${toTarget.mean.toFixed(0)})`
  return `> ${steps}${few}`
}

function overheadTable(overheads: ReturnType<typeof overheadsOf>): string[] {
  const head = ['strategy', 'KB a step', 'of traffic, %', 'time, %', 'CPU, %', 'memory, KB']
  const body = overheads.map(({ row, bytes, traffic, time, cpu, memory }) => [
    row.name,
    (bytes / 1000).toFixed(0),
    (100 * traffic).toFixed(1),
    (100 * time).toFixed(2),
    (100 * cpu).toFixed(1),
    (memory / 1000).toFixed(0),
  ])
  return [
    '',
    ...markdown(head, body),
    '',
    'Values are differences from `none`, for all peers and the store together. Time is the time of a virtual step, and is the same on every machine. A stage is a laptop, with 20 ms and',
    '20 Mbit/s between two peers and to the store. CPU is the measured processor time of all peers in one process without the computing of stages. Other programs change the CPU value by some percent.',
  ]
}

function replays(extent: Extent, played: Played): string[] {
  const confirmed = confirmationsOf(extent, played)
  if (confirmed.length === 0) return ['', 'No row of this table is a replay.']
  return [
    '',
    ...confirmed.map(({ row, failures, iterations, fromCalm, calmFromNone, replayed }) => {
      const run = `A real run with ${failures} failures`
      const { partsAt } = fromCalm
      if (partsAt !== null) {
        return `- ${row.name}: REFUTED. ${run} makes another step than the replay in iteration ${partsAt} of ${iterations}.`
      }
      const loss = Math.max(fromCalm.loss, calmFromNone.loss)
      const said = loss <= SAME ? 'confirmed' : 'REFUTED'
      const joint =
        replayed.joint === 0
          ? ''
          : ` Not covered: ${replayed.joint} of the ${replayed.failures} failures of the table took a stage soon after its standby.`
      const how = loss === 0 ? 'to the last digit' : `within ${loss.toExponential(0)} of each`
      return `- ${row.name}: ${said}. ${run} made the ${iterations} steps of the replay. The losses agree ${how}.${joint}`
    }),
  ]
}

function ranking(comparisons: readonly Comparison[]): string[] {
  const head = ['said to be worse', 'than', 'second half', 'at the end', 'seeds', '']
  const body = comparisons.map(({ worse, better, secondHalf, final }) => [
    worse,
    better,
    shown(secondHalf, 3),
    shown(final, 3),
    String(final.count),
    judged(secondHalf),
  ])
  return [
    '',
    ...markdown(head, body),
    '',
    'Values are differences of loss under the same failures by seed, with exempt edges and half of the 95 % confidence interval. The verdict uses the mean over all evaluations of the second half.',
  ]
}

function judged({ mean, margin }: Estimate): string {
  if (mean - margin > 0) return 'confirmed'
  if (mean + margin < 0) return 'refuted'
  return 'not decided'
}

function verdict(rows: readonly Row[], overheads: ReturnType<typeof overheadsOf>): string[] {
  const candidates = rows.flatMap(({ row, rate, above }) => {
    const overhead = overheads.find((each) => each.row.name === row.name)
    if (!row.storeless || rate === 0 || overhead === undefined) return []
    if (above.mean > CLOSE || overhead.time > CHEAP) return []
    const sure = above.mean + above.margin <= CLOSE ? '' : '; the interval reaches beyond'
    return [
      `- ${row.name} at p = ${rate}: ${shown(above, 1, 100)} % above none${sure}, ${(100 * overhead.time).toFixed(2)} % of time`,
    ]
  })
  const claim = `These strategies need no store, end within ${100 * CLOSE} % of the undisturbed final loss, and cost less than ${100 * CHEAP} % of time:`
  return ['', claim, '', ...(candidates.length === 0 ? ['- none'] : candidates)]
}

function shown({ mean, margin }: Estimate, digits: number, scale = 1): string {
  const value = (scale * mean).toFixed(digits)
  return Number.isFinite(margin) ? `${value} ± ${(scale * margin).toFixed(digits)}` : value
}

/** Markdown table whose columns are as wide as their widest cell, so that it is readable as text too. */
function markdown(head: readonly string[], body: readonly (readonly string[])[]): string[] {
  const widths = head.map((name, i) =>
    Math.max(3, name.length, ...body.map((row) => row[i]!.length)),
  )
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`
  return [
    line(head),
    `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`,
    ...body.map(line),
  ]
}
