/** The scenario, the shape of its run, and the jobs that are made of both. All modes of the laboratory use this module. */
import { resolve } from 'node:path'
import { InputError } from '../../src/base/errors.ts'
import type { Run } from '../../src/run/run.ts'
import { readCalibration } from './calibration/calibration.ts'
import type { Loss } from './failures/loss.ts'
import { drawLosses } from './failures/table.ts'
import { type Laboratory, outcomesOf } from './outcomes.ts'
import { type PlayJob, type PlayOutcome, runOf } from './play-job.ts'
import { digestOf, type PlayTask, taskOf } from './play-task.ts'
import type { TrialResult } from './results.ts'
import type { LoadedScenario, Scenario } from './scenario.ts'
import type { Point } from './statistics.ts'
import type { LabStrategy } from './strategies.ts'

/** Properties of the run that follow from its settings before anything is played. */
export interface Shape {
  /** Number of body stages. */
  readonly stages: number
  readonly peers: number
  /** Number of peers that fills every stage and the run's spares. With more peers some stages have several holders. */
  readonly whole: number
  /** Number of iterations between two evaluations of the held-out loss. */
  readonly everySteps: number
  /** Digest of the run without the settings that a trial changes. */
  readonly digest: string
  readonly machine: PlayJob['machine']
}

export interface Bench {
  readonly scenario: Scenario
  readonly folder: string
  readonly lab: Laboratory
  readonly shape: Shape
}

/** The losses of one failure process and seed. */
export interface Draw {
  readonly failures: string
  readonly seed: number
  readonly losses: readonly Loss[]
}

/** The input from which a mode makes trials. */
export interface Question {
  readonly bench: Bench
  readonly strategies: readonly LabStrategy[]
  readonly drawn: (iterationSeconds: number) => readonly Draw[]
  /** Held-out loss of a recorded run without failures; null if the scenario names none. */
  readonly curve: readonly Point[] | null
}

export interface Mode {
  /** @throws InputError if a strategy cannot be computed for these losses */
  check(question: Question, draws: readonly Draw[]): void
  trials(question: Question): Promise<TrialResult[]>
}

/** Time limit of a trial, as a multiple of the hours of its iterations. The difference allows for recoveries. */
const HOURS_FACTOR = 3

/** Draws the losses of each failure process and seed. */
export function drawsOf(
  { scenario, folder, shape: { stages, peers } }: Bench,
  iterationSeconds: number,
): Draw[] {
  const { failures, seeds, network, budget } = scenario
  const hours = budget.hours ?? (budget.iterations * iterationSeconds * HOURS_FACTOR) / 3_600
  const place = {
    hours,
    stages,
    peers,
    regionOf: (slot: number) => network.regions[slot % network.regions.length]!,
    iterationSeconds,
  }
  return failures.flatMap((failure) =>
    seeds.map((seed) => ({
      failures: failure.name,
      seed,
      losses: drawLosses(failure, place, seed, folder),
    })),
  )
}

/**
 * Makes the run of each strategy once, since hashing its text takes time. Checks each strategy.
 * @throws InputError naming the strategy that cannot work with the run
 */
export async function shapeOf(
  { scenario, folder }: LoadedScenario,
  strategies: readonly LabStrategy[],
): Promise<Shape> {
  let shape!: Shape
  for (const strategy of strategies) {
    checkNames(scenario, strategy, strategies)
    const { name, recovery } = strategy
    try {
      shape = shapeOfRun(await runOf(jobOf(scenario, { recovery }), folder), scenario, folder)
    } catch (error) {
      if (!(error instanceof InputError)) throw error
      throw new InputError(`strategy ${name}: ${error.message.replace(/^init: /, '')}`)
    }
  }
  const { stages, peers } = shape
  if (peers < stages + 1) {
    throw new InputError(
      `peers is ${peers}: ${stages} body stages and the ends need ${stages + 1} at least.`,
    )
  }
  return shape
}

function shapeOfRun(run: Run, scenario: Scenario, folder: string): Shape {
  const { stages, spares, evaluation } = run
  const whole = stages + 1 + spares
  return {
    stages,
    peers: scenario.peers ?? whole,
    whole,
    everySteps: evaluation.everySteps,
    digest: digestOf(run),
    machine: machineOf(scenario, folder, run),
  }
}

function checkNames(
  { mode, setbacks }: Scenario,
  { name, replay, along }: LabStrategy,
  strategies: readonly LabStrategy[],
): void {
  if (along !== null && !strategies.some((each) => each.name === along && each.replay === null)) {
    throw new InputError(`strategy ${name}: ${along}, which it goes along, is not played here.`)
  }
  if (mode === 'replay' && replay === null && setbacks[name] === undefined) {
    throw new InputError(
      `strategy ${name}: a replay has to be told by how many iterations a loss sets it back: setbacks.${name}.`,
    )
  }
}

function machineOf({ compute }: Scenario, folder: string, run: Run): PlayJob['machine'] {
  if (compute.calibration === undefined) return undefined
  const path = resolve(folder, compute.calibration)
  const { costMs, cores, messageMs } = readCalibration(path, run)
  return { costMs, cores, messageMs }
}

/** Makes a trial of the scenario. `given` overrides the scenario's settings. */
export function jobOf(
  scenario: Scenario,
  given: Partial<PlayJob>,
  machine?: PlayJob['machine'],
): PlayJob {
  const { run, data, peers, network, compute, budget, seeds, iterationSeconds } = scenario
  return {
    steps: budget.iterations,
    seed: seeds[0]!,
    run,
    recovery: {},
    data,
    peers,
    network,
    domains: network.regions.length > 1 ? network.regions : undefined,
    compute,
    machine,
    fold: 1,
    iterationHours: 0,
    losses: [],
    atBoundaries: iterationSeconds !== null,
    targetLoss: null,
    hours: null,
    ...given,
  }
}

/** Plays trials of the scenario. Outcomes of earlier trials come from the cache. */
export function playAll(
  { scenario, folder, lab, shape }: Bench,
  given: readonly Partial<PlayJob>[],
): Promise<PlayOutcome[]> {
  const tasks = given.map((each) =>
    taskOf(jobOf(scenario, each, shape.machine), folder, shape.digest),
  )
  return outcomesOf<PlayTask, PlayOutcome>(tasks, 'worker', lab)
}
