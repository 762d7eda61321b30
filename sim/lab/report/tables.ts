/** Writes the tables of the report: overview, summary of a failure process, claims of the paper. */
import type { Claim, Results, Summary } from '../results.ts'
import { inUnit, significant, timeUnit, withMargin } from './format.ts'
import { type Child, element, type Markup } from './markup.ts'

const PERCENT = 100
const NOTHING = '–'

interface Column {
  readonly head: Child
  readonly numeric?: boolean
}

/** Table that scrolls within the page if it is wider than the screen. */
function table(
  kind: string,
  columns: readonly Column[],
  rows: readonly (readonly Child[])[],
): Markup {
  const cell = (name: string, content: Child, i: number) =>
    element(name, { class: columns[i]!.numeric === true ? 'n' : null }, content)
  return element(
    'div',
    { class: 'scroll' },
    element(
      'table',
      { 'data-table': kind },
      element('thead', {}, element('tr', {}, ...columns.map(({ head }, i) => cell('th', head, i)))),
      element(
        'tbody',
        {},
        ...rows.map((row) =>
          element('tr', {}, ...row.map((content, i) => cell(i === 0 ? 'th' : 'td', content, i))),
        ),
      ),
    ),
  )
}

/** Table with a row for each strategy and a column for each failure process; null for a single process. */
export function overview({ failures, strategies, summary, targetLoss }: Results): Markup | null {
  if (failures.length < 2) return null
  const largest = Math.max(0, ...summary.map((each) => each.hoursToTarget?.mean ?? 0))
  const unit = timeUnit(largest)
  // If no strategy reached the target, the table shows final losses instead.
  const byTime = targetLoss !== null && largest > 0
  const measure = (each: Summary) =>
    !byTime ? each.finalLoss : each.hoursToTarget && inUnit(each.hoursToTarget, unit)
  const rows = strategies.map(({ name }) => [
    name,
    ...failures.map((process) => {
      const own = summary.find((each) => each.strategy === name && each.failures === process.name)
      if (own === undefined) return NOTHING
      const value = measure(own)
      if (value === null) return byTime ? 'not reached' : NOTHING
      const all = !byTime || own.reached === own.seeds
      return all ? withMargin(value) : `${withMargin(value)} (${own.reached}/${own.seeds})`
    }),
  ])
  const columns = [
    { head: 'strategy' },
    ...failures.map(({ name }) => ({ head: name, numeric: true })),
  ]
  const says = !byTime
    ? 'Final held-out loss, nats a token.'
    : `Virtual time to a loss of ${significant(targetLoss)}, ${unit.name}. If some seeds did not reach the loss, brackets have the number that did.`
  return element(
    'section',
    {},
    element('h2', {}, 'All failure processes'),
    table('overview', columns, rows),
    element('p', { class: 'note' }, says),
  )
}

/** @param replayed names of strategies whose trials were computed from an undisturbed run */
export function summaryTable(summaries: readonly Summary[], replayed: ReadonlySet<string>): Markup {
  const largest = Math.max(0, ...summaries.map((each) => each.hoursToTarget?.mean ?? 0))
  const unit = timeUnit(largest)
  const numeric = true
  const columns = [
    { head: 'strategy' },
    { head: 'reached', numeric },
    { head: `time to target, ${unit.name}`, numeric },
    { head: 'iterations to target', numeric },
    { head: 'final loss', numeric },
    { head: 'goodput, %', numeric },
    { head: 'losses', numeric },
    { head: 'MB an iteration', numeric },
  ]
  const rows = summaries.map((each) => [
    replayed.has(each.strategy) ? `${each.strategy} (replayed)` : each.strategy,
    `${each.reached} of ${each.seeds}`,
    each.hoursToTarget === null ? NOTHING : withMargin(inUnit(each.hoursToTarget, unit)),
    each.iterationsToTarget === null ? NOTHING : withMargin(each.iterationsToTarget),
    each.finalLoss === null ? NOTHING : withMargin(each.finalLoss),
    withMargin(inUnit(each.goodput, { name: '%', perStored: PERCENT })),
    Number.isInteger(each.losses) ? String(each.losses) : significant(each.losses),
    significant(each.megabytesPerIteration),
  ])
  return table('summary', columns, rows)
}

const VERDICT_CLASSES = { held: 'yes', 'not held': 'no', 'not decidable': 'open' } as const

export function claimsTable(claims: readonly Claim[]): Markup {
  const columns = [
    { head: 'no.', numeric: true },
    { head: 'claim' },
    { head: 'the paper' },
    { head: 'here' },
    { head: 'verdict' },
    { head: 'why' },
  ]
  const rows = claims.map(({ number, claim, paper, ours, verdict, why }) => [
    String(number),
    claim,
    paper,
    ours,
    element('span', { class: `verdict ${VERDICT_CLASSES[verdict]}` }, verdict),
    why,
  ])
  return table('claims', columns, rows)
}
