/** Defines a trial of the table: a strategy under the failures of a seed, as a job of the laboratory. */
import type { WrittenRecovery } from '../../../src/run/run-schema.ts'
import { type PlayJob, type PlayOutcome, playJob } from '../play-job.ts'
import { type PlayTask, taskOf } from '../play-task.ts'
import type { ProcessCosts } from '../process-meter.ts'
import type { RecoveryResult } from '../results.ts'
import { scenarioSchema } from '../scenario.ts'
import type { Point } from '../statistics.ts'
import { drawDeaths } from './deaths.ts'
import { SCALES, SPARES } from './scales.ts'

export interface Trial {
  readonly scale: keyof typeof SCALES
  readonly seed: number
  /** Probability that a body stage is lost in an iteration; 0 for a run without failures. */
  readonly rate: number
  readonly edgesExempt: boolean
  readonly steps: number
  /** Every stage has two holders. */
  readonly replicas?: true
  /** Recovery settings of the manifest, as far as they differ from the defaults. */
  readonly recovery: WrittenRecovery
}

export interface Outcome {
  readonly trial: Trial
  readonly failures: number
  /** Steps in the order of their computation, each with its training loss. */
  readonly training: readonly Point[]
  /** The loss on held-out text. */
  readonly validation: readonly Point[]
  readonly recoveries: readonly Pick<RecoveryResult, 'stage' | 'bytes' | 'seconds' | 'skipped'>[]
  readonly cost: Cost
}

interface Cost extends ProcessCosts {
  /** Virtual seconds of an average step after the first. */
  readonly stepSeconds: number
  /** Bytes of bodies by purpose that all peers sent or wrote to the store in a step after the first. */
  readonly stepBytes: Readonly<Record<string, number>>
}

export function deathsOf({ scale, seed, rate, steps, edgesExempt }: Trial) {
  const { quiet, run } = SCALES[scale]
  return drawDeaths({ seed, rate, iterations: steps, quiet, stages: run.stages, edgesExempt })
}

/** Default settings of a scenario: each peer is a laptop with its own processor and uplink. */
const SETTING = scenarioSchema.parse({
  format: 'gensyn-scenario',
  version: 1,
  name: 'strategies',
  failures: [{ name: 'none', process: 'none' }],
  strategies: ['none'],
  budget: {},
})

function jobOf(trial: Trial): PlayJob {
  const { scale, seed, steps, recovery, replicas } = trial
  const { network, compute, data } = SETTING
  const { run } = SCALES[scale]
  const holders = run.stages + 1
  return {
    steps,
    seed,
    run,
    recovery,
    data,
    peers: (replicas ? 2 : 1) * holders + SPARES,
    network,
    compute,
    fold: 1,
    iterationHours: 0,
    losses: [],
    atBoundaries: false,
    targetLoss: null,
    hours: null,
    deaths: deathsOf(trial),
    detailed: true,
  }
}

/** Task for a worker that plays the trial. */
export function taskOfTrial(trial: Trial): PlayTask {
  const task = taskOf(jobOf(trial), process.cwd(), '')
  return { ...task, name: JSON.stringify(trial) }
}

/** Two trials of the same key have the same outcome. */
export function keyOf(trial: Trial): string {
  return taskOfTrial(trial).key
}

export function outcomeOf(trial: Trial, played: PlayOutcome): Outcome {
  const { training, validation, costs } = played.details!
  return {
    trial,
    failures: deathsOf(trial).length,
    training,
    validation,
    recoveries: played.recoveries,
    cost: { ...costs, stepSeconds: played.stepSeconds, stepBytes: played.bytesPerIteration },
  }
}

/**
 * Plays a trial in this process.
 * @param onStep receives the number of steps made so far
 */
export async function playTrial(trial: Trial, onStep: (made: number) => void): Promise<Outcome> {
  return outcomeOf(trial, await playJob(jobOf(trial), process.cwd(), onStep))
}
