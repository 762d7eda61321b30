/** The paper's claims: an unplayed trial decides nothing, and a played trial decides by its numbers. */
import { expect, test } from 'vitest'
import { claimsOf, type Evidence } from '../../../sim/lab/claims.ts'
import { lateLoss } from '../../../sim/lab/comparisons.ts'
import { recoveryTransfers } from '../../../sim/lab/paper/recovery.ts'
import type { RecoveryResult, Results, TrialResult } from '../../../sim/lab/results.ts'
import { correlation } from '../../../sim/lab/statistics.ts'
import { sampleResults } from '../../fixtures/results.ts'

const SAMPLE = sampleResults({ seeds: 1 })
const ABLATION = '16 %, edges exempt'

function results(...trials: TrialResult[]): Results {
  return { ...SAMPLE, trials }
}

/** Trials of five seeds with slightly different numbers. */
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

function recovery(weightError: number, spike: number, more: Partial<RecoveryResult> = {}) {
  const known = SAMPLE.trials.flatMap(({ recoveries }) => recoveries)[0]!
  const losses = { lossBefore: 2, lossAfter: 2 + spike }
  return { ...known, stage: 3, strategy: 'copy', weightError, ...losses, ...more }
}

const NOTHING: Evidence = {
  main: results(),
  ablation: results(),
  larger: results(),
  calm: results(),
  bursts: results(),
  spot: results(),
}

/** The verdict on claim `number`, where all other evidence was not played. */
function verdict(number: number, evidence: Partial<Evidence>): string {
  return claimsOf({ ...NOTHING, ...evidence })[number - 1]!.verdict
}

test('without a trial no claim is held or refuted', () => {
  const claims = claimsOf(NOTHING)
  expect(claims.map(({ number }) => number)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1))
  expect(claims.filter(({ verdict }) => verdict !== 'not decidable')).toEqual([])
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
    const late = (loss: number): Partial<TrialResult> => ({
      iterations: 100,
      curve: [[100, 10, loss]],
    })
    const model = (excess: number) =>
      results(
        ...trials('none', ABLATION, (noise) => late(2 + noise)),
        ...trials('checkfree', ABLATION, (noise) => late(2 + excess + noise)),
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

test('an edge is alike to its twin where its copies are nearer to it, whatever else was recovered', () => {
  const edges = (strategy: string, error: number, between: number) => (noise: number) => ({
    recoveries: [
      recovery(error + noise, 0, { stage: 1, strategy }),
      recovery(error * 1.1, 0, { stage: 6, strategy }),
      // Neither a stage in the middle nor a stage that a fallback recovered is a copy of a twin.
      recovery(between, 0, { stage: 3, strategy }),
      recovery(between, 0, { stage: 6, strategy: 'random' }),
    ],
  })
  const main = (swapped: number) =>
    results(
      ...trials('checkfree+', '5 %', edges('checkfree+', swapped, 0.9)),
      ...trials('checkfree', '5 %', edges('copy', 0.5, 0.01)),
    )
  expect(verdict(5, { main: main(0.2) })).toBe('held')
  expect(verdict(5, { main: main(0.8) })).toBe('not held')
})

test('that one strategy has larger errors and rises than another says nothing of errors and rises', () => {
  const at = (error: number, rise: number) => (noise: number) => ({
    recoveries: [1, -1, -1, 1].map((sign, i) =>
      recovery(error + 0.01 * (i % 2), rise + 0.1 * sign + noise),
    ),
  })
  const ablation = results(
    ...trials('random', ABLATION, at(1, 2)),
    ...trials('copy', ABLATION, at(0.1, 0.1)),
  )
  expect(verdict(14, { ablation })).toBe('not decidable')
})

test('a stage between that was not averaged had a neighbour lost; an edge that was not says nothing', () => {
  const skipped = { skipped: ['checkfree'] }
  const bursts = (stage: number) =>
    results(
      ...trials('checkfree', 'bursts', () => ({
        recoveries: [recovery(0.1, 0, { stage, ...skipped }), recovery(0.1, 0)],
      })),
    )
  expect(verdict(15, { bursts: bursts(1) })).toBe('not decidable')
  expect(verdict(15, { bursts: bursts(2) })).toBe('held')
})

test('seeds in which one alone did not reach the target must not say the contrary, and are enough without others', () => {
  const reaching = (strategy: string, hours: (seed: number) => number | null) =>
    trials(strategy, '10 %', () => ({})).map((trial) => {
      const needed = hours(trial.seed)
      const reached = needed === null ? null : { iterations: 10 * needed, hours: needed }
      return { ...trial, reached }
    })
  const main = (
    checkpoint: (seed: number) => number | null,
    plus: (seed: number) => number | null,
  ) => ({
    ...results(...reaching('checkpoint every 10', checkpoint), ...reaching('checkfree+', plus)),
    failures: [{ name: '10 %', says: '' }],
  })
  const quick = (seed: number) => 10 + 0.1 * seed
  const slow = (seed: number) => 20 + 0.2 * (seed % 2)
  expect(verdict(10, { main: main(slow, quick) })).toBe('held')
  expect(verdict(10, { main: main(quick, slow) })).toBe('not held')
  expect(verdict(10, { main: main((seed) => (seed > 3 ? null : slow(seed)), quick) })).toBe('held')
  const lucky = (seed: number) => (seed > 3 ? null : quick(seed))
  expect(verdict(10, { main: main(slow, lucky) })).toBe('not decidable')
  expect(verdict(10, { main: main(quick, () => null) })).toBe('not held')
})

test("a stage of the paper's size reaches its new node within the slowest link of its region table", () => {
  const transfers = recoveryTransfers()
  expect(transfers).toHaveLength(18)
  expect(Math.max(...transfers)).toBeLessThan(26.8)
  // The fastest link carries 256 MiB at 0.2425 GiB/s.
  expect(Math.min(...transfers)).toBeGreaterThan(0.25 / 0.2425)
})

test('a line has a correlation of 1 or -1, and a parabola around its top none', () => {
  const over = [-2, -1, 0, 1, 2]
  expect(correlation(over.map((x) => [x, 3 * x + 1]))).toBeCloseTo(1, 12)
  expect(correlation(over.map((x) => [x, -x]))).toBeCloseTo(-1, 12)
  expect(correlation(over.map((x) => [x, -(x ** 2)]))).toBeCloseTo(0, 12)
})

test('the late loss is the mean of what was evaluated in the last quarter of the iterations', () => {
  const curve: [number, number, number][] = [20, 40, 60, 80, 100].map((at) => [at, at / 10, 1 / at])
  const trial = { ...SAMPLE.trials[0]!, iterations: 100, curve }
  expect(lateLoss(trial)).toBeCloseTo((1 / 80 + 1 / 100) / 2, 12)
  expect(lateLoss({ ...trial, iterations: 80, curve: curve.slice(0, 4) })).toBe(1 / 80)
  expect(lateLoss({ ...trial, curve: [] })).toBe(null)
})
