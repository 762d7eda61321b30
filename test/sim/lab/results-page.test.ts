/** docs/RESULTS.md from results that were never played: what a cell says of runs that did not reach the target. */
import { expect, test } from 'vitest'
import type { Results, TrialResult } from '../../../sim/lab/results.ts'
import { resultsPage } from '../../../sim/lab/results-page.ts'
import { summarize } from '../../../sim/lab/summary.ts'
import { sampleResults } from '../../fixtures/results.ts'

const SAMPLE = sampleResults({ seeds: 1 })
const EMPTY: Results = { ...SAMPLE, trials: [], summary: [], failures: [], strategies: [] }

/** Of a strategy, a trial for each seed: the hours to the target, or what the run spent and why it ended. */
function trials(
  strategy: string,
  all: readonly (number | { spent: number; failure: string | null })[],
): TrialResult[] {
  return all.map((each, i) => {
    const reached = typeof each === 'number' ? { iterations: each, hours: each } : null
    const { spent, failure } = typeof each === 'number' ? { spent: each, failure: null } : each
    return {
      ...SAMPLE.trials[0]!,
      ...{ strategy, failures: 'bursts', seed: i + 1, hours: spent, reached, failure },
    }
  })
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

const main = results('main', ['Of all.', 'Of main.'], trials('none', [100, 100]))
const bursts = results(
  'bursts',
  ['Of all.'],
  [
    ...trials('none', [100, 200]),
    ...trials('twice', [200, 400]),
    ...trials('half', [300, { spent: 400, failure: null }]),
    ...trials('spent', [
      { spent: 300, failure: null },
      { spent: 600, failure: null },
    ]),
    ...trials('ended', [
      { spent: 1, failure: 'nobody is left' },
      { spent: 2, failure: 'nobody is left' },
    ]),
  ],
)
const page = resultsPage({
  ...{ main, bursts, calm: EMPTY, ablation: EMPTY, larger: EMPTY, spot: EMPTY },
  claims: [],
}).split('\n')

test.each([
  ['twice', /^\| twice \| 300 ± \S+ \| 2\.00 ± 0 \| 0 \|$/],
  ['half', /^\| half \| 300 \(1 of 2\) \| 3\.00 \(1 of 2\) \| 0 \|$/],
  // What was spent is a bound, but not of a run that came to an end.
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
