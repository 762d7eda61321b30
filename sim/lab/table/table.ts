/** Computes the table from outcomes alone, and leaves out rows without outcomes. */
import type { Death } from '../../scenario.ts'
import { type Estimate, estimate, type Point, stepsTo, valueAt } from '../statistics.ts'
import { type Case, RATE, UNDISTURBED } from '../strategies.ts'
import { jointFailures } from './deaths.ts'
import { calmTrialOf, type Extent, ratesOf, roughTrialOf, trialOf } from './plan.ts'
import { type Deviation, deviation, replayedCurve, stepsOf } from './replay.ts'
import { deathsOf, type Outcome, type Trial } from './trial.ts'

/** The known outcomes. */
export interface Played {
  get(trial: Trial): Outcome | undefined
}

/** One seed of a row beside the undisturbed run of that seed. */
interface Pair {
  readonly curve: readonly Point[]
  readonly undisturbed: readonly Point[]
  readonly failures: number
  readonly outcome: Outcome | undefined
}

export interface Row {
  readonly row: Case
  readonly rate: number
  readonly failures: Estimate
  /** Loss on held-out text, nats a token, half-way and at the end. */
  readonly halfWay: Estimate
  readonly final: Estimate
  /** Relative excess of the final loss over the undisturbed one of the same seed. */
  readonly above: Estimate
  /** Iterations to the target, over the seeds that reach it. */
  readonly toTarget: Estimate
  /** Means over recoveries; null if none was played. `fallbacks` is the share that the policy's first row did not make. */
  readonly recovery: {
    readonly bytes: number
    readonly seconds: number
    readonly fallbacks: number
  } | null
}

/** Share of the steps after which the undisturbed loss is the target. */
export const TARGET_SHARE = 0.7

export function rowsOf(extent: Extent, played: Played): Row[] {
  return extent.cases.flatMap((row) =>
    ratesOf(extent, row).flatMap((rate) => {
      const pairs = pairsOf(extent, played, row, rate)
      return pairs.length === 0 ? [] : [summary(extent, row, rate, pairs)]
    }),
  )
}

function pairsOf(extent: Extent, played: Played, row: Case, rate: number): Pair[] {
  return extent.seeds.flatMap((seed): Pair[] => {
    const calm = played.get(trialOf(extent, UNDISTURBED, 0, seed))
    if (calm === undefined) return []
    const undisturbed = calm.validation
    const trial = trialOf(extent, row, rate, seed)
    if (row.replay !== undefined) {
      const made = stepsOf(row.replay, trial, trial.steps)
      const failures = deathsOf(trial).length
      return [{ curve: replayedCurve(calm, made), undisturbed, failures, outcome: undefined }]
    }
    const outcome = played.get(trial)
    if (outcome === undefined) return []
    const { validation: curve, failures } = outcome
    return [{ curve, undisturbed, failures, outcome }]
  })
}

function summary({ steps }: Extent, row: Case, rate: number, pairs: readonly Pair[]): Row {
  const of = (value: (pair: Pair) => number) => estimate(pairs.map(value))
  const recoveries = pairs.flatMap(({ outcome }) => outcome?.recoveries ?? [])
  const mean = (values: readonly number[]) => estimate(values).mean
  const reached = pairs.flatMap(
    ({ curve, undisturbed }) => stepsTo(curve, valueAt(undisturbed, TARGET_SHARE * steps)) ?? [],
  )
  return {
    row,
    rate,
    failures: of(({ failures }) => failures),
    halfWay: of(({ curve }) => valueAt(curve, steps / 2)),
    final: of(({ curve }) => valueAt(curve, steps)),
    above: of(({ curve, undisturbed }) => valueAt(curve, steps) / valueAt(undisturbed, steps) - 1),
    toTarget: estimate(reached),
    recovery:
      recoveries.length === 0
        ? null
        : {
            bytes: mean(recoveries.map(({ bytes }) => bytes)),
            seconds: mean(recoveries.map(({ seconds }) => seconds ?? 0)),
            fallbacks: mean(recoveries.map(({ skipped }) => (skipped.length > 0 ? 1 : 0))),
          },
  }
}

export interface Overhead {
  readonly row: Case
  /** Bytes that all peers together send in a step, in addition to training traffic. */
  readonly bytes: number
  /** `bytes` as a share of training traffic. */
  readonly traffic: number
  /** Additional virtual time of a step, as a share of a step of the undisturbed run. */
  readonly time: number
  /** Additional CPU seconds of a step outside of stages, as a share of all CPU seconds of an undisturbed step. */
  readonly cpu: number
  /** Bytes of buffers of all peers together, in addition to those of training. */
  readonly memory: number
}

export function overheadsOf(extent: Extent, played: Played): Overhead[] {
  const plain = played.get(calmTrialOf(extent, UNDISTURBED))?.cost
  return extent.cases.flatMap((row) => {
    const cost = played.get(calmTrialOf(extent, row))?.cost
    if (plain === undefined || cost === undefined) return []
    const bytes = total(cost.stepBytes) - total(plain.stepBytes)
    return [
      {
        row,
        bytes,
        traffic: bytes / total(plain.stepBytes),
        time: cost.stepSeconds / plain.stepSeconds - 1,
        cpu: (cost.otherCpuSeconds - plain.otherCpuSeconds) / plain.cpuSeconds,
        memory: cost.bufferBytes - plain.bufferBytes,
      },
    ]
  })
}

function total(bytes: Readonly<Record<string, number>>): number {
  return sum(Object.values(bytes))
}

function sum(values: readonly number[]): number {
  return values.reduce((total, each) => total + each, 0)
}

/**
 * Comparison of two strategies under the same failures.
 * Differences are the loss of the strategy that the paper calls worse minus the loss of the other.
 */
export interface Comparison {
  readonly worse: string
  readonly better: string
  /** Mean difference of the held-out loss over the evaluations of the second half; `final` is the one at the end. */
  readonly secondHalf: Estimate
  readonly final: Estimate
}

/** Strategies of the paper's ablation (arXiv 2506.15461, figure 2) with exempt edges, from the worst to the best. */
const RANKING = ['random', 'copy', 'uniform', 'checkfree'] as const

export function rankingOf(extent: Extent, played: Played): Comparison[] {
  const pairs = [...RANKING.slice(1).map((name, i) => [RANKING[i]!, name]), ['copy', 'checkfree']]
  return pairs.flatMap(([worse, better]) => {
    const curves = (name: string) => {
      const row = extent.cases.find((each) => each.name === name)
      return extent.seeds.map(
        (seed) => row && played.get(trialOf(extent, row, RATE, seed))?.validation,
      )
    }
    const [bad, good] = [curves(worse!), curves(better!)]
    const both = bad.flatMap((curve, i) => (curve && good[i] ? [[curve, good[i]] as const] : []))
    if (both.length === 0) return []
    const late = (curve: readonly Point[]) =>
      estimate(curve.filter(([step]) => step > extent.steps / 2).map(([, loss]) => loss)).mean
    return [
      {
        worse: worse!,
        better: better!,
        secondHalf: estimate(both.map(([a, b]) => late(a) - late(b))),
        final: estimate(both.map(([a, b]) => valueAt(a, extent.steps) - valueAt(b, extent.steps))),
      },
    ]
  })
}

/** Comparison of a replay with a real run. */
export interface Confirmation {
  readonly row: Case
  readonly failures: number
  /** Number of compared iterations of the real run. */
  readonly iterations: number
  /** Deviation of the real run from the same run without failures. */
  readonly fromCalm: Deviation
  /** Deviation of the run without failures from the undisturbed run, which the replay is computed from. */
  readonly calmFromNone: Deviation
  /** Failures of the replay. `joint` counts those for which an exact replay may be wrong. */
  readonly replayed: { readonly failures: number; readonly joint: number }
}

/** Number of iterations after a loss within which there may be no new standby. */
const JOINT_STEPS = 4

export function confirmationsOf(extent: Extent, played: Played): Confirmation[] {
  return extent.cases.flatMap((row) => {
    if (row.replay === undefined) return []
    const [none, calm] = [UNDISTURBED, row].map((each) => played.get(calmTrialOf(extent, each)))
    const rough = played.get(roughTrialOf(extent, row))
    if (none === undefined || calm === undefined || rough === undefined) return []
    const rate = Math.max(...row.rates)
    const deaths = extent.seeds.map((seed) => deathsOf(trialOf(extent, row, rate, seed)))
    const { standby } = row
    const jointOf = (each: readonly Death[]) =>
      standby === undefined ? [] : jointFailures(each, JOINT_STEPS, standby)
    // From its first joint failure on, the real run may differ from the replay.
    const [joint] = jointOf(deathsOf(rough.trial))
    const iterations = joint?.step ?? rough.training.length
    return [
      {
        row,
        failures: deathsOf(rough.trial).filter(({ step }) => step < iterations).length,
        iterations,
        fromCalm: deviation(rough, calm, row.replay, joint?.step),
        calmFromNone: deviation(calm, none, 'exact'),
        replayed: {
          failures: deaths.flat().length,
          joint: deaths.flatMap(jointOf).length,
        },
      },
    ]
  })
}
