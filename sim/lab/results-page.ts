/** docs/RESULTS.md: the paper's table beside ours, and its claims. */

import type { Evidence } from './claims.ts'
import { difference, hours, lateLoss, ratio, trialsOf } from './comparisons.ts'
import { listed, significant, withMargin } from './report/format.ts'
import type { Claim, Results, Summary } from './results.ts'
import { estimate } from './statistics.ts'

interface Page extends Evidence {
  readonly claims: readonly Claim[]
}

/** Hours to the target in the paper's Table 2, by strategy and rate. */
const CHECKPOINT_HOURS = { '5 %': 558.23, '10 %': 621.67, '16 %': 634.35 }
const PAPER_HOURS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  'checkpoint every 100': CHECKPOINT_HOURS,
  'checkpoint every 100 (paper)': CHECKPOINT_HOURS,
  'redundant (paper)': { '5 %': 419.56, '10 %': 419.56, '16 %': 419.56 },
  checkfree: { '5 %': 367.81, '10 %': 405.87, '16 %': 562.96 },
  'checkfree+': { '5 %': 355.13, '10 %': 367.81, '16 %': 460.6 },
}
/** 10,000 iterations of 91.3 s: as many as its redundant computation, which feels no failure, took. */
const PAPER_UNDISTURBED_HOURS = 253.6

export function resultsPage({ main, ablation, larger, calm, bursts, spot, claims }: Page): string {
  return [
    '## Hours to the target loss',
    '',
    `Held-out loss ${main.targetLoss} nats a token; mean over ${seedsOf(main)} seeds with the 95 % interval. In brackets: how many seeds reached it, where not all did; the mean is then of those alone, and too low.`,
    '',
    ...timeTable(main),
    '',
    '### Against the paper',
    '',
    "Hours to the target as a multiple of the run without failures; the paper's Table 2 beside it, which is of one seed, evaluated every 500 iterations (± 0.05), and says nothing of a run without failures: that is taken as the 10,000 iterations that its redundant computation took, of 91.3 s each (253.6 h). Its CheckFree had the first and last of the six stages exempt, and its failures were fewer than the rates say (see above).",
    '',
    ...paperTable(main),
    '',
    '### Against CheckFree',
    '',
    'The same as a multiple of its hours.',
    '',
    ...ratioTable(main, 'checkfree'),
    '',
    ...section('Failures that come together', bursts.scenario.says, bursts, closeTable),
    ...section('Spot instances', spot.scenario.says, spot, closeTable),
    ...section(
      'While nothing fails',
      'Iterations and their time, with all upkeep.',
      calm,
      closeTable,
    ),
    ...section(
      'Goodput',
      'Iterations that were not lost again, in the time of undisturbed ones, as a share of all hours. In brackets: stages lost, mean of the seeds.',
      main,
      goodputTable,
    ),
    ...section(
      'Ablation',
      "Held-out loss, mean of the last quarter of 1,000 iterations (the paper's 10,000); and how much more that is than without failures and with checkfree, by seed.",
      ablation,
      lossTable,
    ),
    ...section('A larger model', 'The same, twice as wide.', larger, lossTable),
    "## The paper's claims",
    '',
    'Held: all comparisons are on the side that is claimed, each with all of its 95 % interval, seed by seed. Not held: one of them is wholly on the other side. Not decidable: neither. Where both got to the target in no seed, two seeds in which one of them alone did are enough. Nothing is corrected for how many there are. Claim 13 compares two models, by intervals that do not meet; claims 4, 11, 12, 15 and 16 are judged as their last column says.',
    '',
    '| # | claim | paper | ours | verdict | why |',
    '|---|---|---|---|---|---|',
    ...claims.map(({ number, claim, paper, ours, verdict, why }) => {
      const cells = [number, claim, paper, ours, `**${verdict}**`, why]
      return `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`
    }),
    '',
    '## What was recommended',
    '',
    ...[main, bursts, spot].flatMap(({ recommendations }) =>
      recommendations.map(({ failures, sentence }) => `- ${failures}: ${sentence}`),
    ),
    '',
    '## Assumptions',
    '',
    ...assumptions([main, calm, ablation, larger, bursts, spot]),
    '',
  ].join('\n')
}

/** Nothing where nothing was played. */
function section(
  title: string,
  says: string,
  results: Results,
  rows: (results: Results) => string[],
): string[] {
  if (results.trials.length === 0) return []
  const before = says === '' ? [] : [says, '']
  return [`## ${title}`, '', ...before, ...rows(results), '']
}

function table(
  results: Results,
  cell: (summary: Summary) => string,
  names: readonly string[] = results.strategies.map(({ name }) => name),
): string[] {
  const rates = results.failures.map(({ name }) => name)
  const at = (strategy: string, failures: string) =>
    results.summary.find((each) => each.strategy === strategy && each.failures === failures)!
  return [
    `| strategy | ${rates.join(' | ')} |`,
    `|---|${rates.map(() => '---|').join('')}`,
    ...names.map(
      (name) => `| ${name} | ${rates.map((rate) => cell(at(name, rate))).join(' | ')} |`,
    ),
  ]
}

function timeTable(results: Results): string[] {
  return table(results, timeCell)
}

function timeCell({ hoursToTarget, reached, seeds }: Summary): string {
  if (hoursToTarget === null) return 'not reached'
  return ofSeeds(hoursToTarget, reached, seeds)
}

/** With the seeds that it is of, where those are not all. */
function ofSeeds(value: Parameters<typeof withMargin>[0], count: number, seeds: number): string {
  return `${withMargin(value)}${count < seeds ? ` (${count} of ${seeds})` : ''}`
}

/** Where there is one failure process: how each strategy fared under it. */
function closeTable(results: Results): string[] {
  return [
    '| strategy | hours to the target | of those without failures | runs that came to an end before |',
    '|---|---|---|---|',
    ...results.summary.map((summary) => {
      const { strategy, failures } = summary
      const ended = trialsOf(results, failures, strategy).filter(({ failure }) => failure !== null)
      const times = strategy === 'none' ? '1' : ratioCell(results, 'none', summary)
      return `| ${strategy} | ${timeCell(summary)} | ${times} | ${ended.length} |`
    }),
  ]
}

function goodputTable(results: Results): string[] {
  return table(
    results,
    ({ goodput, losses }) => `${goodput.mean.toFixed(3)} (${losses.toFixed(0)} lost)`,
  )
}

function lossTable(results: Results): string[] {
  return table(results, ({ failures, strategy }) => {
    const late = trialsOf(results, failures, strategy).flatMap((trial) => lateLoss(trial) ?? [])
    if (late.length === 0) return '-'
    const over = ['none', 'checkfree']
      .filter((other) => other !== strategy)
      .map((other) => {
        const more = difference(results, failures, strategy, other, lateLoss)
        return `${withMargin(more)} over ${other}`
      })
    return [withMargin(estimate(late)), ...over].join('; ')
  })
}

/** Beside the run without failures, and the paper's ratio. */
function paperTable(results: Results): string[] {
  return ratioTable(results, 'none', ({ strategy, failures }) => {
    const paper = PAPER_HOURS[strategy]?.[failures]
    return paper === undefined ? '' : `; paper ${(paper / PAPER_UNDISTURBED_HOURS).toFixed(2)}`
  })
}

/** Ratios of hours, seed by seed where the target was reached; where it was not, what was spent is a bound. */
function ratioTable(
  results: Results,
  base: string,
  beside: (summary: Summary) => string = () => '',
): string[] {
  return table(
    results,
    (summary) => `${ratioCell(results, base, summary)}${beside(summary)}`,
    results.strategies.map(({ name }) => name).filter((name) => name !== base),
  )
}

function ratioCell(results: Results, base: string, summary: Summary): string {
  const { strategy, failures, seeds } = summary
  const value = ratio(results, failures, strategy, base, hours)
  if (value.count === 0) {
    // No bound: a run that came to an end has not spent what it was given, and what reached the target has not missed it.
    const spent = ratio(results, failures, strategy, base, ({ failure, hours }) =>
      failure === null ? hours : null,
    )
    return spent.count === 0 || summary.reached > 0 ? '-' : `> ${significant(spent.mean)}`
  }
  return ofSeeds(value, value.count, seeds)
}

/** Each sentence once, with the scenarios that it is said of where those are not all. */
function assumptions(all: readonly Results[]): string[] {
  const played = all.filter(({ trials }) => trials.length > 0)
  const sentences = new Set(played.flatMap((results) => results.assumptions))
  return [...sentences].map((sentence) => {
    const of = played.filter((results) => results.assumptions.includes(sentence))
    const names = of.map(({ scenario }) => scenario.name)
    return `- ${names.length < played.length ? `${listed(names)}: ` : ''}${sentence}`
  })
}

function seedsOf({ summary }: Results): number {
  return summary[0]!.seeds
}
