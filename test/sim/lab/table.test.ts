/** Checks the failures, replays and estimates of the table of strategies against independent values. */
import { beforeAll, describe, expect, test } from 'vitest'
import { estimate, stepsTo, valueAt } from '../../../sim/lab/statistics.ts'
import { UNDISTURBED } from '../../../sim/lab/strategies.ts'
import { drawDeaths, jointFailures, stepsOfRollback } from '../../../sim/lab/table/deaths.ts'
import { type Extent, trialOf } from '../../../sim/lab/table/plan.ts'
import { deviation, replayedCurve } from '../../../sim/lab/table/replay.ts'
import { rankingOf, rowsOf } from '../../../sim/lab/table/table.ts'
import { keyOf, type Outcome, playTrial, type Trial } from '../../../sim/lab/table/trial.ts'

describe('failures', () => {
  const failures = { seed: 1, iterations: 1000, quiet: 50, stages: 6, edgesExempt: false }
  const names = (rate: number, more = {}) =>
    drawDeaths({ ...failures, rate, ...more }).map(({ step, stage }) => `${step}/${stage}`)

  test('come as often as the rate says, and not in the quiet iterations', () => {
    const many = drawDeaths({ ...failures, rate: 0.1, iterations: 10_000 })
    // The bound is five standard deviations of a binomial with 6 x 9949 draws.
    expect(Math.abs(many.length - 5969)).toBeLessThan(5 * Math.sqrt(5969 * 0.9))
    expect(Math.min(...many.map(({ step }) => step))).toBeGreaterThan(50)
  })

  test('of a lower rate, of fewer iterations and of exempt edges are among those of all', () => {
    const all = names(0.02)
    expect(names(0.02)).toEqual(all)
    expect(names(0.02, { seed: 2 })).not.toEqual(all)
    const fewer = names(0.005)
    expect(fewer.length).toBeGreaterThan(0)
    expect(all).toEqual(expect.arrayContaining(fewer))
    expect(all.filter((name) => Number(name.split('/')[0]) < 500)).toEqual(
      names(0.02, { iterations: 500 }),
    )
    expect(all.filter((name) => !/[16]$/.test(name))).toEqual(names(0.02, { edgesExempt: true }))
  })
})

test('a failure takes the model back to the last checkpoint that was finished before it', () => {
  const after = (...steps: number[]) => steps.map((step) => ({ step, stage: 1 }))
  expect(stepsOfRollback([], 3, 4, 99)).toEqual([1, 2, 3, 4])
  expect(stepsOfRollback(after(2), 3, 4, 99)).toEqual([1, 2, 1, 2, 3, 4])
  // Step 3 would be a checkpoint, but the lost stage has not saved it.
  expect(stepsOfRollback(after(3), 3, 4, 99)).toEqual([1, 2, 3, 1, 2, 3, 4])
  expect(stepsOfRollback(after(4, 6), 3, 6, 99)).toEqual([1, 2, 3, 4, 4, 5, 4, 5, 6])
  expect(stepsOfRollback(after(4, 5), 3, 5, 99)).toEqual([1, 2, 3, 4, 4, 4, 5])
  expect(stepsOfRollback(after(2, 4, 6, 8), 3, 5, 8)).toEqual([1, 2, 1, 2, 1, 2, 1, 2])
})

test('failures of a stage together with that of its standby, or soon after', () => {
  const deaths = [
    [51, 3],
    [51, 4],
    [55, 5],
    [60, 6],
    [70, 2],
    [69, 3],
  ] as const
  const named = deaths.map(([step, stage]) => ({ step, stage }))
  expect(jointFailures(named, 0, 1)).toHaveLength(1)
  // Stage 5 fails four iterations after stage 4, and stage 6 five after stage 5. Stage 3 was lost before stage 2.
  expect(jointFailures(named, 4, 1)).toHaveLength(2)
  expect(jointFailures(named, 5, 1)).toHaveLength(3)
  // Two failures of the same stage are 18 iterations apart.
  expect(jointFailures(named, 17, 0)).toHaveLength(0)
  expect(jointFailures(named, 18, 0)).toEqual([{ step: 69, stage: 3 }])
})

test('estimates and curves', () => {
  // The margin is 2.776 x sqrt(2.5 / 5), by Student's distribution with four degrees of freedom.
  expect(estimate([1, 2, 3, 4, 5]).mean).toBe(3)
  expect(estimate([1, 2, 3, 4, 5]).margin).toBeCloseTo(1.9629, 4)
  expect(estimate([1]).margin).toBe(Number.POSITIVE_INFINITY)
  const curve = [
    [10, 4],
    [20, 3],
    [30, 3.5],
    [40, 1],
  ] as const
  expect(valueAt(curve, 15)).toBe(3.5)
  expect(valueAt(curve, 5)).toBe(4)
  expect(valueAt(curve, 99)).toBe(1)
  expect(stepsTo(curve, 3.25)).toBe(17.5)
  expect(stepsTo(curve, 2)).toBe(36)
  expect(stepsTo(curve, 0.5)).toBe(null)
})

/** Long because its tests share the undisturbed trial. */
describe('trials of a tiny model', () => {
  const calmTrial: Trial = {
    scale: 'tiny',
    seed: 1,
    rate: 0,
    edgesExempt: false,
    steps: 70,
    recovery: UNDISTURBED.recovery,
  }
  const roughTrial: Trial = {
    ...calmTrial,
    rate: 0.03,
    recovery: { policy: ['checkfree', 'copy', 'random'] },
  }
  let calm: Outcome
  let rough: Outcome
  beforeAll(async () => {
    calm = await playTrial(calmTrial, () => {})
    rough = await playTrial(roughTrial, () => {})
  })

  test('every stage of the trace is lost and brought back, and nothing else', () => {
    const { seed, rate, steps } = roughTrial
    const deaths = drawDeaths({
      seed,
      rate,
      iterations: steps,
      quiet: 50,
      stages: 6,
      edgesExempt: false,
    })
    expect(deaths.length).toBeGreaterThan(2)
    expect(rough.recoveries.map(({ stage }) => stage)).toEqual(deaths.map(({ stage }) => stage))
    expect(rough.training.map(([step]) => step)).toEqual(calm.training.map(([step]) => step))
    // The two runs are equal until the first loss, and differ after it.
    const first = deaths[0]!.step
    const until = { ...rough, training: rough.training.slice(0, first) }
    const short = { ...until, trial: { ...rough.trial, steps: first } }
    expect(deviation(short, calm, 'exact')).toEqual({ partsAt: null, loss: 0 })
    expect(deviation(rough, calm, 'exact').loss).toBeGreaterThan(1e-4)
    // The run made each step once, which a rollback would not have done.
    expect(deviation(rough, calm, 3).partsAt).toBe(first + 1)
  })

  test('a replay has the losses of the steps that it has come to', () => {
    const made = [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
    const curve = replayedCurve(calm, made)
    expect(curve).toEqual([
      [5, calm.validation[0]![1]],
      [10, calm.validation[0]![1]],
    ])
  })

  test('a real run that goes back to checkpoints makes the steps of its replay, to the last digit', async () => {
    const recovery = { checkpoint: { everySteps: 5, mode: 'lazy' } } as const
    const trial = { ...roughTrial, recovery: { policy: ['checkpoint'], ...recovery } }
    const real = await playTrial(trial, () => {})
    expect(real.failures).toBeGreaterThan(2)
    expect(real.training.length).toBeGreaterThan(trial.steps + 2)
    expect(deviation(real, calm, 5)).toEqual({ partsAt: null, loss: 0 })
    expect(deviation(real, calm, 4).partsAt).not.toBe(null)
  })

  test('one key for what comes to the same, another for all else', () => {
    expect(keyOf({ ...calmTrial, edgesExempt: true })).toBe(keyOf(calmTrial))
    const others = [roughTrial, { ...roughTrial, edgesExempt: true }, { ...calmTrial, seed: 2 }]
    expect(new Set([calmTrial, ...others].map(keyOf)).size).toBe(4)
  })
})

test('rows pair each seed with its undisturbed run; a ranking needs its interval on one side', () => {
  const row = (name: string) => ({ ...UNDISTURBED, name, recovery: {}, rates: [0.005] })
  const cases = ['random', 'copy'].map((name, i) => ({
    ...row(name),
    recovery: { normExponent: i },
  }))
  const extent: Extent = { scale: 'tiny', cases, seeds: [1, 2, 3], rates: [0.005], steps: 10 }
  const outcomes = new Map<string, Outcome>()
  const put = (trial: Trial, final: number) =>
    outcomes.set(keyOf(trial), {
      trial,
      failures: 4,
      training: [[1, 5.5]],
      validation: [
        [5, 4],
        [10, final],
      ],
      recoveries: [],
      cost: {
        stepSeconds: 1,
        stepBytes: {},
        cpuSeconds: 1,
        otherCpuSeconds: 0,
        bufferBytes: 0,
      },
    })
  for (const seed of [1, 2, 3]) {
    put(trialOf(extent, UNDISTURBED, 0, seed), seed)
    put(trialOf(extent, cases[0]!, 0.005, seed), 1.5 * seed)
    put(trialOf(extent, cases[1]!, 0.005, seed), 1.1 * seed)
  }
  const played = { get: (trial: Trial) => outcomes.get(keyOf(trial)) }
  const [random, copy] = rowsOf(extent, played)
  expect(random!.above).toEqual({ mean: 0.5, margin: 0, count: 3 })
  expect(copy!.above.mean).toBeCloseTo(0.1, 12)
  expect(copy!.final.mean).toBeCloseTo(2.2, 12)
  const [comparison] = rankingOf(extent, played)
  expect(comparison!.final.mean).toBeCloseTo(0.8, 12)
  // The differences are 0.4, 0.8 and 1.2.
  expect(comparison!.final.margin).toBeCloseTo(4.303 * Math.sqrt(0.16 / 3), 10)
})
