/** Checks summaries and recommendations on numbers with a known answer. */
import { describe, expect, test } from 'vitest'
import { recommend } from '../../../sim/lab/recommend.ts'
import type { TrialResult } from '../../../sim/lab/results.ts'
import { summarize } from '../../../sim/lab/summary.ts'
import { trialResult } from '../../fixtures/trial-result.ts'

const LOST = [{ hours: 1, stage: 2 }]

/** One trial for each seed: hours to the target, or null where the target was not reached. */
function trialsOf(strategy: string, hours: readonly (number | null)[]): TrialResult[] {
  return hours.map((each, i) =>
    trialResult({
      strategy,
      seed: i + 1,
      losses: LOST,
      reached: each === null ? null : { iterations: 10 * each, hours: each },
      finalLoss: each === null ? 3 : 2,
    }),
  )
}

describe('a summary', () => {
  test('is one for each strategy and process, in the order in which they come', () => {
    const trials = ['b', 'a', 'b'].flatMap((strategy) =>
      ['x', 'y'].map((failures) => trialResult({ strategy, failures })),
    )
    expect(summarize(trials).map((each) => [each.strategy, each.failures, each.seeds])).toEqual([
      ['b', 'x', 2],
      ['b', 'y', 2],
      ['a', 'x', 1],
      ['a', 'y', 1],
    ])
  })

  test('has the mean and its margin of those that reached the target', () => {
    const [summary] = summarize(trialsOf('a', [4, 6, null]))
    // The margin of two values is half their difference times Student's quantile for one degree of freedom, tan(0.475 pi).
    expect(summary!.hoursToTarget!.mean).toBe(5)
    expect(summary!.hoursToTarget!.margin).toBeCloseTo(Math.tan(0.475 * Math.PI), 3)
    expect(summary).toMatchObject({
      seeds: 3,
      reached: 2,
      losses: 1,
      iterationsToTarget: { mean: 50 },
    })
    expect(summary!.finalLoss!.mean).toBeCloseTo(7 / 3)
  })

  test('of one seed has no margin, and of none that reached it no time', () => {
    const [summary] = summarize(trialsOf('a', [null]))
    expect(summary).toMatchObject({ hoursToTarget: null, goodput: { mean: 1, margin: null } })
    expect(JSON.parse(JSON.stringify(summary))).toEqual(summary)
  })

  test('counts the bytes of all purposes', () => {
    const trial = trialResult({ bytesPerIteration: { activations: 2_000_000, store: 500_000 } })
    expect(summarize([trial])[0]!.megabytesPerIteration).toBe(2.5)
  })
})

/** Long because it has one case for each rule of the recommendation. */
describe('a recommendation', () => {
  const of = (trials: readonly TrialResult[], targetLoss: number | null = 2.5) =>
    recommend({ failures: [{ name: 'storms', says: '' }], trials: [...trials], targetLoss })[0]!

  test('names the soonest, with its margin over the next', () => {
    const trials = [...trialsOf('slow', [8, 8.1, 8.2]), ...trialsOf('quick', [5, 5.1, 5.2])]
    expect(of(trials)).toEqual({
      failures: 'storms',
      strategy: 'quick',
      sentence:
        'Use quick, which reaches a loss of 2.50 after 5.10 ± 0.25 h (3 of 3 seeds). Quick is 3.00 ± 0 h sooner than slow (95 % interval over 3 seeds).',
    })
  })

  test('compares seed by seed: a hard seed is hard for all', () => {
    const trials = [...trialsOf('a', [3, 6, 12]), ...trialsOf('b', [3.9, 7.1, 13])]
    expect(of(trials).sentence).toContain('60 ± 15 min sooner than b (95 % interval over 3 seeds).')
    // The same times under other seeds give no difference.
    const mixed = [...trialsOf('a', [3, 6, 12]), ...trialsOf('b', [13, 3.9, 7.1])]
    expect(of(mixed).sentence).toContain('The results do not tell a from b')
  })

  test('says which others may be as good', () => {
    const trials = [
      ...trialsOf('c', [5.5, 6.1, 4.9]),
      ...trialsOf('a', [5, 5.6, 5.3]),
      ...trialsOf('b', [5.1, 5.3, 5.9]),
      ...trialsOf('d', [9, 9.6, 9.3]),
    ]
    expect(of(trials)).toMatchObject({
      strategy: 'a',
      sentence: expect.stringMatching(/do not tell a from b \(.+\)\. The same holds for c\.$/),
    })
  })

  test('prefers the one that reached it under more seeds, and says how many did', () => {
    const { strategy, sentence } = of([
      ...trialsOf('lucky', [2, null, 2.2]),
      ...trialsOf('sure', [5, 5.1, 5.3]),
    ])
    expect(strategy).toBe('sure')
    expect(sentence).toContain('3 of 3 seeds')
    expect(sentence).toMatch(/h later than lucky \(2 of 3 seeds\)/)
  })

  test('of one seed says that nothing is known of the uncertainty', () => {
    const { sentence } = of([...trialsOf('a', [5]), ...trialsOf('b', [6])])
    expect(sentence).toContain('60.0 min sooner than b (one seed, so the uncertainty is not known)')
  })

  test('goes by the loss at the end where none reached the target, or there is none', () => {
    const ended = (strategy: string, losses: number[]) =>
      losses.map((finalLoss, i) => trialResult({ strategy, seed: i, losses: LOST, finalLoss }))
    const trials = [...ended('a', [3.2, 3.3]), ...ended('b', [3.0, 3.1])]
    expect(of(trials)).toMatchObject({
      strategy: 'b',
      sentence: expect.stringMatching(
        /^No strategy reached a loss of 2\.50 within the budget\. By the final loss, use b, .*0\.20\d* ± .* lower than a/,
      ),
    })
    expect(of(trials, null).sentence).toMatch(/^By the final loss, use b/)
  })

  test('is never what the failures were kept from', () => {
    const spared = trialsOf('none', [1, 1, 1]).map((trial) => ({ ...trial, losses: [] }))
    expect(of([...spared, ...trialsOf('a', [5, 6, 7])])).toMatchObject({
      strategy: 'a',
      sentence: expect.stringMatching(/ No other strategy was tried\.$/),
    })
    // A run that ended before the first loss met the same conditions as the others.
    const early = trialsOf('early', [0.5, 0.5]).map((each) => ({ ...each, losses: [], hours: 0.9 }))
    expect(of([...early, ...trialsOf('a', [5, 6])]).strategy).toBe('early')
  })

  test('says so where nothing was lost', () => {
    const calm = [...trialsOf('a', [5, 6]), ...trialsOf('none', [4, 5])]
    expect(of(calm.map((each) => ({ ...each, losses: [] })))).toMatchObject({
      strategy: 'none',
      sentence: expect.stringMatching(/^Nothing was lost, .* Use none, which reaches/),
    })
    expect(of(calm).sentence).not.toContain('Nothing was lost')
  })

  test('goes by goodput where no loss was evaluated, and is none where nothing was tried', () => {
    const kept = (strategy: string, goodputs: number[]) =>
      goodputs.map((goodput, i) => trialResult({ strategy, seed: i, losses: LOST, goodput }))
    expect(of([...kept('a', [0.7, 0.71]), ...kept('b', [0.9, 0.91])])).toMatchObject({
      strategy: 'b',
      sentence: expect.stringMatching(
        /^No loss was evaluated\. By goodput, use b, which loses a share of time of 9\.5 ± .* %.* B loses 20\.0 ± 0 % less than a/,
      ),
    })
    expect(of([])).toMatchObject({ strategy: null })
  })
})
