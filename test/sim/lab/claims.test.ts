/** The paper's claims: what was not played decides nothing; what was played decides as its numbers say. */
import { expect, test } from 'vitest'
import { claimsOf, type Evidence } from '../../../sim/lab/claims.ts'
import { recoveryTransfers } from '../../../sim/lab/paper/recovery.ts'
import type { RecoveryResult, Results, TrialResult } from '../../../sim/lab/results.ts'
import { correlation } from '../../../sim/strategies/statistics.ts'
import { sampleResults } from '../../fixtures/results.ts'

const SAMPLE = sampleResults({ seeds: 1 })
const ABLATION = '16 %, edges exempt'

function results(...trials: TrialResult[]): Results {
  return { ...SAMPLE, trials }
}

/** Of five seeds, that differ a little. */
function trials(
  strategy: string,
  failures: string,
  more: (noise: number) => Partial<TrialResult>,
): TrialResult[] {
  return [1, 2, 3, 4, 5].map((seed) => ({
    ...SAMPLE.trials[0]!,
    strategy,
    failures,
    seed,
    recoveries: [],
    ...more(0.001 * Math.sin(seed * strategy.length)),
  }))
}

function recovery(weightError: number, spike: number, stage = 3): RecoveryResult {
  const known = SAMPLE.trials.flatMap(({ recoveries }) => recoveries)[0]!
  return { ...known, stage, weightError, lossBefore: 2, lossAfter: 2 + spike }
}

const NOTHING: Evidence = {
  main: results(),
  ablation: results(),
  larger: results(),
  calm: results(),
  bursts: results(),
}

/** What is said of claim `number` where all else was not played. */
function verdict(number: number, evidence: Partial<Evidence>): string {
  return claimsOf({ ...NOTHING, ...evidence })[number - 1]!.verdict
}

test('without a trial no claim is held or refuted, but the one that is arithmetic', () => {
  const claims = claimsOf(NOTHING)
  expect(claims.map(({ number }) => number)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1))
  const decided = claims.filter(({ verdict }) => verdict !== 'not decidable')
  expect(decided.map(({ claim }) => claim)).toEqual(['Replicating the embeddings costs little'])
})

test.each([
  [1.1, 'held'],
  [1, 'not decidable'],
  [0.9, 'not held'],
])(
  'if the swap takes %s times the iterations without failures, that it slows learning is %s',
  (times, expected) => {
    const reached = (iterations: number) => ({ reached: { iterations, hours: iterations } })
    const calm = results(
      ...trials('none', 'none', (noise) => reached(1_000 * (1 + noise))),
      ...trials('checkfree+', 'none', (noise) => reached(1_000 * (times + noise))),
    )
    expect(verdict(6, { calm })).toBe(expected)
  },
)

test.each([
  [0.05, 'held'],
  [0.1, 'not decidable'],
  [0.2, 'not held'],
])(
  'if failures raise the loss of the larger model by %s nats and of the smaller by 0.1, that size helps is %s',
  (raised, expected) => {
    const model = (excess: number) =>
      results(
        ...trials('none', ABLATION, (noise) => ({ finalLoss: 2 + noise })),
        ...trials('checkfree', ABLATION, (noise) => ({ finalLoss: 2 + excess + noise })),
      )
    expect(verdict(13, { ablation: model(0.1), larger: model(raised) })).toBe(expected)
  },
)

test.each([
  [2, 'held'],
  [0, 'not decidable'],
  [-2, 'not held'],
])(
  'if the loss rises by %s nats for each unit of error, that it rises with the error is %s',
  (slope, expected) => {
    const ablation = results(
      ...trials('copy', ABLATION, (noise) => ({
        recoveries: [0.1, 0.2, 0.3, 0.4].map((error, i) =>
          recovery(error, slope * error + 50 * noise * (-1) ** i),
        ),
      })),
    )
    expect(verdict(14, { ablation })).toBe(expected)
  },
)

test('an edge is alike to its twin where its copies are nearer to it, whatever the stages between', () => {
  const edges = (error: number, between: number) => () => ({
    recoveries: [recovery(error, 0, 1), recovery(error * 1.1, 0, 6), recovery(between, 0, 3)],
  })
  const main = (swapped: number) =>
    results(
      ...trials('checkfree+', '5 %', edges(swapped, 0.9)),
      ...trials('checkfree', '5 %', edges(0.5, 0.01)),
    )
  expect(verdict(5, { main: main(0.2) })).toBe('held')
  expect(verdict(5, { main: main(0.8) })).toBe('not held')
})

test("a stage of the paper's size reaches its new node within the slowest link of its region table", () => {
  const transfers = recoveryTransfers()
  expect(transfers).toHaveLength(18)
  expect(Math.max(...transfers)).toBeLessThan(26.8)
  // 256 MiB within 4 ms at 0.2425 GiB/s, at best.
  expect(Math.min(...transfers)).toBeGreaterThan(0.25 / 0.2425)
})

test('a line has a correlation of 1 or -1, and a parabola around its top none', () => {
  const over = [-2, -1, 0, 1, 2]
  expect(correlation(over.map((x) => [x, 3 * x + 1]))).toBeCloseTo(1, 12)
  expect(correlation(over.map((x) => [x, -x]))).toBeCloseTo(-1, 12)
  expect(correlation(over.map((x) => [x, -(x ** 2)]))).toBeCloseTo(0, 12)
})
