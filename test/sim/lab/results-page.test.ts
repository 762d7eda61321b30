/** docs/RESULTS.md from synthetic results: the cells of runs that did not reach the target. */
import { expect, test } from 'vitest'
import type { Results, TrialResult } from '../../../sim/lab/results.ts'
import { resultsPage, withStoreless } from '../../../sim/lab/results-page.ts'
import { summarize } from '../../../sim/lab/summary.ts'
import { sampleResults } from '../../fixtures/results.ts'

const SAMPLE = sampleResults({ seeds: 1 })
const EMPTY: Results = { ...SAMPLE, trials: [], summary: [], failures: [], strategies: [] }

const reached = (hours: number) => ({ hours, reached: { iterations: hours, hours } })
const spent = (hours: number, failure: string | null = null) => ({ hours, reached: null, failure })

/** Trials of a strategy, one for each seed. */
function trials(strategy: string, all: readonly Partial<TrialResult>[]): TrialResult[] {
  const known = { ...SAMPLE.trials[0]!, strategy, failures: 'bursts' }
  return all.map((each, i) => ({ ...known, seed: i + 1, ...each }))
}

function results(name: string, assumptions: string[], of: TrialResult[]): Results {
  const names = [...new Set(of.map(({ strategy }) => strategy))]
  return {
    ...SAMPLE,
    scenario: { ...SAMPLE.scenario, name },
    assumptions,
    trials: of,
    summary: summarize(of),
    failures: [{ name: 'bursts', says: '' }],
    strategies: names.map((strategy) => ({ name: strategy, says: '' })),
  }
}

const main = results('main', ['Of all.', 'Of main.'], trials('none', [reached(100), reached(100)]))
const bursts = results(
  'bursts',
  ['Of all.'],
  [
    ...trials('none', [reached(100), reached(200)]),
    ...trials('twice', [reached(200), reached(400)]),
    ...trials('half', [reached(300), spent(400)]),
    ...trials('spent', [spent(300), spent(600)]),
    ...trials('ended', [spent(1, 'nobody is left'), spent(2, 'nobody is left')]),
  ],
)
const page = resultsPage({
  ...{ main, bursts, calm: EMPTY, ablation: EMPTY, larger: EMPTY, spot: EMPTY },
  claims: [],
}).split('\n')

test.each([
  ['twice', /^\| twice \| 300 ± \S+ \| 2\.00 ± 0 \| 0 \|$/],
  ['half', /^\| half \| 300 \(1 of 2\) \| 3\.00 \(1 of 2\) \| 0 \|$/],
  // The hours spent are a bound, except for a run that ended early.
  ['spent', /^\| spent \| not reached \| > 3\.00 \| 0 \|$/],
  ['ended', /^\| ended \| not reached \| - \| 2 \|$/],
])('the row of %s', (name, row) => {
  expect(page.find((line) => line.startsWith(`| ${name} |`))).toMatch(row)
})

test('each assumption once, with the scenarios that it is said of where those are not all', () => {
  expect(page.slice(page.indexOf('## Assumptions')).filter((line) => line !== '')).toEqual([
    '## Assumptions',
    '- Of all.',
    '- main: Of main.',
  ])
})

test('the table of strategies without a store can be written alone, again and again', () => {
  const spot = results(
    'spot',
    [],
    [
      ...trials('none', [reached(100), reached(100)]),
      ...trials('shadow', [reached(120), spent(50, 'the ends are lost')]),
      ...trials('checkpoint every 10', [reached(160), reached(240)]),
    ],
  )
  const whole = {
    ...{ main, bursts, calm: EMPTY, ablation: EMPTY, larger: EMPTY, spot },
    claims: [],
  }
  const page = resultsPage({ ...whole, storeless: [] })
  const written = withStoreless(page, [spot])
  const row = '| bursts | shadow | 120 (1 of 2) | 1.20 (1 of 2) | 0.750 (1 of 2) | 1 |'
  expect(written).toContain(`\n${row}\n`)
  expect(withStoreless(written, [spot])).toBe(written)
  const without = written
    .split(/^(?=## )/m)
    .filter((each) => !each.startsWith('## Without a store'))
  expect(without.join('')).toBe(page)
  expect(resultsPage({ ...whole, storeless: [spot] })).toContain(row)
})
