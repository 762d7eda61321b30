/** Results of trials, from played outcomes or from a walk along a curve. */
import type { Bench, Draw } from './bench.ts'
import type { Loss } from './failures/loss.ts'
import { stageLosses } from './occupancy.ts'
import type { PlayOutcome } from './play-job.ts'
import { toLastCheckpoint, walk } from './replay.ts'
import type { TrialResult } from './results.ts'
import { type Point, stepsTo } from './statistics.ts'
import type { LabStrategy } from './strategies.ts'

/** Seconds of a recovery that is neither measured nor stated: the paper's "around 30 seconds". */
export const RECOVERY_SECONDS = 30

/** Durations of a replayed strategy. */
export interface Times {
  /** Seconds of an iteration, in the scenario's time. */
  readonly seconds: number
  readonly recoverySeconds: number
  readonly bytesPerIteration: Record<string, number>
}

/** Durations that the strategy states, or that follow from the scenario alone. */
export function statedTimes({ stated }: LabStrategy, iterationSeconds: number): Times {
  const { iterationFactor = 1, recoverySeconds = RECOVERY_SECONDS } = stated ?? {}
  return { seconds: iterationSeconds * iterationFactor, recoverySeconds, bytesPerIteration: {} }
}

export function playedResult(
  { scenario }: Bench,
  strategy: LabStrategy,
  draw: Draw,
  outcome: PlayOutcome,
  iterationSeconds: number,
): TrialResult {
  const { stepSeconds: _, steps, ...rest } = outcome
  const useful = { steps, hours: outcome.hours, iterationSeconds }
  return {
    strategy: strategy.name,
    failures: draw.failures,
    seed: draw.seed,
    source: 'played',
    ...rest,
    ...endsOf(outcome.curve, scenario.targetLoss, useful),
  }
}

/** @param curve held-out loss, by iterations, of the run that the strategy replays */
export function walkedResult(
  { scenario, shape }: Bench,
  strategy: LabStrategy,
  draw: Draw,
  curve: readonly Point[],
  times: Times,
  iterationSeconds: number,
): TrialResult {
  const { budget, targetLoss, stopAtTarget } = scenario
  const { name, replay } = strategy
  const losses = stageLosses(draw.losses, shape.stages, shape.peers)
  const { iterations, progress, hours, ...walked } = walk({
    curve,
    losses: replay === 'calm' ? [] : losses,
    seconds: times.seconds,
    recoverySeconds: times.recoverySeconds,
    backTo: setbackOf(strategy, scenario.setbacks[name] ?? 0),
    everySteps: shape.everySteps,
    iterationsMax: budget.iterations,
    hoursMax: budget.hours ?? Number.POSITIVE_INFINITY,
    targetLoss: stopAtTarget ? targetLoss : null,
  })
  return {
    strategy: name,
    failures: draw.failures,
    seed: draw.seed,
    source: 'replayed',
    losses: walked.met.map(({ loss }) => ({ hours: loss.hours, stage: stageOf(loss) })),
    recoveries: walked.met.map((met) => recoveryOf(met, name, times.recoverySeconds)),
    iterations,
    hours,
    bytesPerIteration: times.bytesPerIteration,
    curve: walked.curve,
    failure: null,
    ...endsOf(walked.curve, targetLoss, { steps: progress, hours, iterationSeconds }),
  }
}

/** Progress after a loss, from the progress before it. */
function setbackOf({ replay }: LabStrategy, setback: number): (progress: number) => number {
  if (typeof replay === 'number') return toLastCheckpoint(replay)
  return (progress) => Math.max(0, progress - setback)
}

function stageOf(loss: Loss): number | null {
  return 'stage' in loss ? loss.stage : null
}

function recoveryOf(
  { loss, iteration, lost }: ReturnType<typeof walk>['met'][number],
  strategy: string,
  seconds: number,
): TrialResult['recoveries'][number] {
  return {
    iteration,
    hours: loss.hours + seconds / 3_600,
    stage: stageOf(loss) ?? 0,
    strategy,
    skipped: [],
    seconds,
    bytes: 0,
    stepsLost: Math.floor(lost),
    weightError: null,
    lossBefore: null,
    lossAfter: null,
  }
}

interface Useful {
  /** Number of iterations that no rollback discards. */
  readonly steps: number
  readonly hours: number
  readonly iterationSeconds: number
}

/** The final values that follow from a curve and the number of its iterations. */
function endsOf(
  curve: PlayOutcome['curve'],
  targetLoss: number | null,
  { steps, hours, iterationSeconds }: Useful,
) {
  const reach = (points: readonly Point[]) =>
    targetLoss === null ? null : stepsTo(points, targetLoss)
  const iterations = reach(curve.map(([made, , loss]) => [made, loss] as const))
  const at = reach(curve.map(([, hour, loss]) => [hour, loss] as const))
  return {
    finalLoss: curve.at(-1)?.[2] ?? null,
    reached: iterations === null || at === null ? null : { iterations, hours: at },
    goodput: hours === 0 ? 0 : (steps * iterationSeconds) / 3_600 / hours,
  }
}
