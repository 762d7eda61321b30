/** docs/RESULTS.md: the paper's table beside ours, and its claims. */

import type { Evidence } from './claims.ts'
import { difference, hours, lateLoss, ratio, trialsOf } from './comparisons.ts'
import { listed, significant, withMargin } from './report/format.ts'
import type { Claim, Results, Summary } from './results.ts'
import { estimate } from './statistics.ts'

interface Page extends Evidence {
  readonly claims: readonly Claim[]
  /** Scenarios in which a strategy without a store is compared with checkpoints; empty if none was played. */
  readonly storeless?: readonly Results[]
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
/**
 * Hours of 10,000 iterations of 91.3 s. The paper's redundant computation, which loses nothing to failures, took as many.
 */
const PAPER_UNDISTURBED_HOURS = 253.6

/** The page in Markdown. Long because it is the text of the page in its order. */
export function resultsPage(page: Page): string {
  const { main, ablation, larger, calm, bursts, spot, claims, storeless = [] } = page
  return [
    '## Hours to the target loss',
    '',
    `Values are hours to a held-out loss of ${main.targetLoss} nats a token: the mean over ${seedsOf(main)} seeds, with the 95 % interval. If some seeds did not reach the target, brackets have the number that did. The mean then covers these seeds only, and is too low.`,
    '',
    ...timeTable(main),
    '',
    '### Against the paper',
    '',
    "Values are hours to the target, divided by the hours of the run without failures, beside the paper's Table 2. The paper's figures are of one seed, evaluated every 500 iterations (± 0.05). The paper has no run without failures, so 253.6 h are taken: the 10,000 iterations of its redundant computation, of 91.3 s each. The paper's CheckFree exempted the first and the last of the six stages, and its failures were fewer than the rates say (see above).",
    '',
    ...paperTable(main),
    '',
    '### Against CheckFree',
    '',
    'Values are hours to the target, divided by the hours of CheckFree.',
    '',
    ...ratioTable(main, 'checkfree'),
    '',
    ...section('Failures that come together', bursts.scenario.says, bursts, closeTable),
    ...section('Spot instances', spot.scenario.says, spot, closeTable),
    ...storelessSection(storeless),
    ...section(
      'While nothing fails',
      'Nothing fails in these runs. The hours include all upkeep of a strategy.',
      calm,
      closeTable,
    ),
    ...section(
      'Goodput',
      'Goodput is a share of all hours: the time that the surviving iterations would take without disturbance. Brackets have the number of lost stages, as a mean over the seeds.',
      main,
      goodputTable,
    ),
    ...section(
      'Ablation',
      "Values are held-out losses, as means over the last quarter of 1,000 iterations (the paper's 10,000). Further values are differences by seed from the runs without failures and with checkfree.",
      ablation,
      lossTable,
    ),
    ...section(
      'A larger model',
      'The table has the same values for a model that is twice as wide.',
      larger,
      lossTable,
    ),
    "## The paper's claims",
    '',
    'A claim is held if all comparisons are on the claimed side, each with its whole 95 % interval, seed by seed. A claim is not held if one comparison is wholly on the other side. Any other claim is not decidable. If no seed has both strategies at the target, two seeds with only one strategy at the target decide. Nothing is corrected for the number of comparisons. Claim 13 compares two models by intervals that do not overlap. Claims 4, 11, 12, 15 and 16 are judged as their last column says.',
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

/** One section; empty if nothing was played. */
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

/** The value, followed by the number of its seeds if some seeds are missing. */
function ofSeeds(value: Parameters<typeof withMargin>[0], count: number, seeds: number): string {
  return `${withMargin(value)}${count < seeds ? ` (${count} of ${seeds})` : ''}`
}

/** Results of each strategy, for scenarios with one failure process. */
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

/** Title of the section that is also written alone. */
const STORELESS_TITLE = '## Without a store'

/** Strategies without a store beside the checkpoints of the same seeds; empty if nothing was played. */
function storelessSection(all: readonly Results[]): string[] {
  if (all.length === 0) return []
  const checkpoint = 'checkpoint every 10'
  return [
    STORELESS_TITLE,
    '',
    'The bursts and the spot instances of the two sections above. Ratios compare the same seeds.',
    '',
    `| failures | strategy | hours to the target | of those without failures | of those with a ${checkpoint} | runs that came to an end before |`,
    '|---|---|---|---|---|---|',
    ...all.flatMap((results) =>
      results.summary.map((summary) => {
        const { strategy, failures } = summary
        const trials = trialsOf(results, failures, strategy)
        const ended = trials.filter(({ failure }) => failure !== null).length
        const beside = (base: string) =>
          strategy === base ? '1' : ratioCell(results, base, summary)
        const cells = [failures, strategy, timeCell(summary), beside('none'), beside(checkpoint)]
        return `| ${[...cells, ended].join(' | ')} |`
      }),
    ),
    '',
  ]
}

/** The page with another section about strategies without a store, in place of the one that it has or after the spot instances. */
export function withStoreless(page: string, results: readonly Results[]): string {
  const sections = page.split(/^(?=## )/m)
  const others = sections.filter((each) => !each.startsWith(STORELESS_TITLE))
  const after = others.findIndex((each) => each.startsWith('## Spot instances'))
  return others.toSpliced(after + 1, 0, `${storelessSection(results).join('\n')}\n`).join('')
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

/** Our ratios to the run without failures, beside the paper's ratio. */
function paperTable(results: Results): string[] {
  return ratioTable(results, 'none', ({ strategy, failures }) => {
    const paper = PAPER_HOURS[strategy]?.[failures]
    return paper === undefined ? '' : `; paper ${(paper / PAPER_UNDISTURBED_HOURS).toFixed(2)}`
  })
}

/** Ratios of hours, seed by seed where the target was reached. Where it was missed, the hours spent are a lower bound. */
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
    // Only a run that neither ended early nor reached the target gives a bound.
    const spent = ratio(results, failures, strategy, base, ({ failure, hours }) =>
      failure === null ? hours : null,
    )
    return spent.count === 0 || summary.reached > 0 ? '-' : `> ${significant(spent.mean)}`
  }
  return ofSeeds(value, value.count, seeds)
}

/** Each assumption once, followed by its scenarios if it does not hold for all of them. */
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
