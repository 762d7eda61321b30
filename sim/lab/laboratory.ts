/** Plays a scenario's trials, and makes its results of them: a function of the scenario, whoever worked on it. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { InputError } from '../../src/base/errors.ts'
import type { Run } from '../../src/run/run.ts'
import { Cache } from '../jobs/cache.ts'
import { doAll, type Job } from '../jobs/crew.ts'
import { keyOfValue } from '../jobs/key.ts'
import { type Point, stepsTo } from '../strategies/statistics.ts'
import { assumptionsOf } from './assumptions.ts'
import { readCalibration } from './calibration/calibration.ts'
import type { Loss } from './failures/loss.ts'
import { describeFailure, drawLosses } from './failures/table.ts'
import { stageLosses } from './occupancy.ts'
import { type PlayJob, type PlayOutcome, runOf } from './play-job.ts'
import { type PlayTask, taskOf } from './play-task.ts'
import { recommend } from './recommend.ts'
import { toLastCheckpoint, walk } from './replay.ts'
import type { Results, TrialResult } from './results.ts'
import { type ScaleTask, scaleTaskOf } from './scale-task.ts'
import type { LoadedScenario, Scenario } from './scenario.ts'
import { type LabStrategy, strategyOf } from './strategies.ts'
import { summarize } from './summary.ts'

export interface Laboratory {
  readonly workers: number
  /** The folder of what was played before. */
  readonly cache: string
  /** Hears of the trials that have to be played, and of how many of their steps are made. */
  readonly progress: (tasks: readonly Job[]) => Progressing
}

interface Progressing {
  finished(): void
  steps(made: number): void
}

/** Steps of a short run that shows what a step takes; and of its first part, if then a stage is lost. */
const PROBE_STEPS = 16
const PROBE_CALM = 8
/** Between two checkpoints of it, at most: one must be complete when the stage is lost. */
const PROBE_EVERY = 4
/** Where nobody measures or states it: the paper's "around 30 seconds". */
const RECOVERY_SECONDS = 30

/** What a replayed strategy takes. */
interface Times {
  /** Of an iteration, in the scenario's seconds. */
  readonly seconds: number
  readonly recoverySeconds: number
  readonly bytesPerIteration: Record<string, number>
}

/**
 * @throws InputError if a strategy cannot work with the run, or a trace is not sound: before anything is played
 */
export async function examine(loaded: LoadedScenario, lab: Laboratory): Promise<Results> {
  const { scenario, folder } = loaded
  const strategies = scenario.strategies.map(strategyOf)
  const bench = new Bench(loaded, lab)
  const shape = await bench.check(strategies)
  const drawn = (iterationSeconds: number) => drawsOf(loaded, shape, iterationSeconds)
  // What is wrong with a trace is said before anything is played, whatever an iteration will turn out to take.
  bench.fit(strategies, drawn(scenario.iterationSeconds ?? 1))
  const curve = scenario.curve === null ? null : recordedCurve(scenario.curve, folder)
  const trials = await bench.trials(strategies, drawn, curve)
  const { targetLoss } = scenario
  const failures = scenario.failures.map((failure) => ({
    name: failure.name,
    says: describeFailure(failure),
  }))
  return {
    format: 'gensyn-results',
    version: 1,
    scenario: {
      name: scenario.name,
      says: scenario.says,
      hash: keyOfValue(scenario),
      mode: scenario.mode,
    },
    assumptions: assumptionsOf(scenario, strategies),
    targetLoss,
    strategies: strategies.map(({ name, says }) => ({ name, says })),
    failures,
    summary: summarize(trials),
    recommendations: recommend({ failures, trials, targetLoss }),
    claims: [],
    trials,
  }
}

/** The losses of one failure process and seed. */
interface Draw {
  readonly failures: string
  readonly seed: number
  readonly losses: readonly Loss[]
}

interface Shape {
  readonly stages: number
  readonly peers: number
}

/** So many times the hours of its iterations a run may take, with all that holds it up: for so long failures are drawn. */
const HOURS_FACTOR = 3

function drawsOf(
  { scenario, folder }: LoadedScenario,
  { stages, peers }: Shape,
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

class Bench {
  readonly #scenario: Scenario
  readonly #folder: string
  readonly #lab: Laboratory
  #digest = ''
  #everySteps = 1
  #machine: PlayJob['machine']
  #stages = 0
  #peers = 0
  /** Peers beyond which stages have several holders. */
  #whole = 0
  /** Virtual seconds of an undisturbed iteration. */
  #stepSeconds = 1
  readonly #times = new Map<string, Times>()
  /** By seed. */
  readonly #undisturbed = new Map<number, PlayOutcome>()

  constructor({ scenario, folder }: LoadedScenario, lab: Laboratory) {
    this.#scenario = scenario
    this.#folder = folder
    this.#lab = lab
  }

  /**
   * Each run is made once to see that it can be: what is in its text is hashed every time.
   * @throws InputError naming the strategy that cannot work with the run
   */
  async check(strategies: readonly LabStrategy[]): Promise<Shape> {
    const { mode, setbacks } = this.#scenario
    for (const { name, recovery, replay, along } of strategies) {
      if (
        along !== null &&
        !strategies.some((each) => each.name === along && each.replay === null)
      ) {
        throw new InputError(`strategy ${name}: ${along}, which it goes along, is not played here.`)
      }
      if (mode === 'replay' && replay === null && setbacks[name] === undefined) {
        throw new InputError(
          `strategy ${name}: a replay has to be told by how many iterations a loss sets it back: setbacks.${name}.`,
        )
      }
      try {
        const run = await runOf(this.#job({ recovery }), this.#folder)
        const { recovery: _, seed, steps, ...others } = run
        this.#digest = keyOfValue(others)
        this.#everySteps = run.evaluation.everySteps
        this.#machine = this.#calibration(run)
        this.#stages = run.stages
        this.#whole = run.stages + 1 + run.spares
        this.#peers = this.#scenario.peers ?? this.#whole
      } catch (error) {
        if (!(error instanceof InputError)) throw error
        throw new InputError(`strategy ${name}: ${error.message.replace(/^init: /, '')}`)
      }
    }
    const [stages, peers] = [this.#stages, this.#peers]
    if (peers < stages + 1) {
      throw new InputError(
        `peers is ${peers}: ${stages} body stages and the ends need ${stages + 1} at least.`,
      )
    }
    return { stages, peers }
  }

  /** @throws InputError if a strategy cannot be computed for these losses */
  fit(strategies: readonly LabStrategy[], draws: readonly Draw[]): void {
    const { mode } = this.#scenario
    const replayed = strategies.find(({ replay }) => replay !== null && replay !== 'calm')
    const ofPeers = draws.some(({ losses }) => losses.some((loss) => 'slot' in loss))
    if (mode !== 'learn' || replayed === undefined || !ofPeers) return
    if (this.#peers <= this.#whole) return
    throw new InputError(
      `strategy ${replayed.name}: where stages have several holders and single peers fail it cannot be computed from the undisturbed run; spell it out without \`replay\`, so that it is played.`,
    )
  }

  #calibration(run: Run): PlayJob['machine'] {
    const { calibration } = this.#scenario.compute
    if (calibration === undefined) return undefined
    const { costMs, cores, messageMs } = readCalibration(resolve(this.#folder, calibration), run)
    return { costMs, cores, messageMs }
  }

  /**
   * Plays the undisturbed run of each seed, to its end whatever the target: it serves other targets, too. Then short runs of
   * the strategies that are not played in full.
   */
  async #measure(strategies: readonly LabStrategy[]): Promise<void> {
    const { seeds } = this.#scenario
    const undisturbed = await this.#play(
      seeds.map((seed) => this.#job({ seed, recovery: { policy: ['random'] } })),
    )
    for (const [i, outcome] of undisturbed.entries()) this.#undisturbed.set(seeds[i]!, outcome)
    this.#stepSeconds = undisturbed[0]!.stepSeconds
    const replayed = strategies.filter(({ replay, stated }) => replay !== null && stated === null)
    const probe = (recovery: PlayJob['recovery'], losses: readonly Loss[]) =>
      this.#job({ recovery: oftener(recovery), losses, steps: PROBE_STEPS })
    const base = probe({ policy: ['random'] }, [])
    const calm = replayed.map(({ recovery }) => probe(recovery, []))
    const [first, ...calmOutcomes] = await this.#play([base, ...calm])
    const rough = replayed.map(({ recovery }, i) => {
      const hours = (PROBE_CALM * calmOutcomes[i]!.stepSeconds) / 3_600
      return probe(recovery, [{ hours, stage: Math.ceil(this.#stages / 2) }])
    })
    const roughOutcomes = await this.#play(rough)
    for (const [i, { name, recovery }] of replayed.entries()) {
      const { stepSeconds, bytesPerIteration } = calmOutcomes[i]!
      const held = roughOutcomes[i]!.recoveries.find(
        ({ strategy }) => strategy === recovery.policy?.[0],
      )
      // Saved so much less often, it takes so much less.
      const share = PROBE_EVERY / Math.max(PROBE_EVERY, recovery.checkpoint?.everySteps ?? 0)
      const { checkpoints = 0 } = bytesPerIteration
      this.#times.set(name, {
        seconds: this.#iterationSeconds * (1 + (stepSeconds / first!.stepSeconds - 1) * share),
        recoverySeconds: held?.seconds ?? RECOVERY_SECONDS,
        bytesPerIteration:
          checkpoints === 0
            ? bytesPerIteration
            : { ...bytesPerIteration, checkpoints: Math.round(checkpoints * share) },
      })
    }
  }

  async trials(
    strategies: readonly LabStrategy[],
    drawn: (iterationSeconds: number) => readonly Draw[],
    curve: readonly Point[] | null,
  ): Promise<TrialResult[]> {
    switch (this.#scenario.mode) {
      case 'replay':
        return drawn(this.#iterationSeconds).flatMap((draw) =>
          strategies.map((strategy) => this.#walked(strategy, draw, curve!)),
        )
      case 'scale':
        return this.#scale(strategies, drawn(this.#iterationSeconds), curve)
      case 'learn':
        await this.#measure(strategies)
        return this.#learn(strategies, drawn(this.#iterationSeconds))
    }
  }

  async #scale(
    strategies: readonly LabStrategy[],
    draws: readonly Draw[],
    curve: readonly Point[] | null,
  ): Promise<TrialResult[]> {
    const peers = this.#peers
    const hours = this.#scenario.budget.hours!
    const tasks: ScaleTask[] = []
    for (const { failures, seed, losses } of draws) {
      for (const { name: strategy, recovery, replay } of strategies) {
        const run = await runOf(this.#job({ recovery, seed }), this.#folder)
        const met = replay === 'calm' ? [] : losses
        const trial = { strategy, failures, seed, run, peers, hours, losses: met, curve }
        tasks.push(scaleTaskOf(trial, this.#scenario))
      }
    }
    return this.#outcomes<ScaleTask, TrialResult>(tasks, 'scale-worker')
  }

  async #learn(strategies: readonly LabStrategy[], draws: readonly Draw[]): Promise<TrialResult[]> {
    const { budget, targetLoss, stopAtTarget } = this.#scenario
    const base = {
      fold: this.#fold,
      iterationHours: this.#iterationSeconds / 3_600,
      targetLoss: stopAtTarget ? targetLoss : null,
      hours: budget.hours,
    }
    const played = strategies.filter(({ replay }) => replay === null)
    const jobs = draws.flatMap(({ seed, losses }) =>
      played.map(({ recovery }) => this.#job({ ...base, seed, recovery, losses })),
    )
    const outcomes = await this.#play(jobs)
    return draws.flatMap((draw) => {
      const byName = new Map(
        played.map((strategy) => [strategy.name, this.#played(strategy, draw, outcomes.shift()!)]),
      )
      return strategies.map((strategy): TrialResult => {
        if (strategy.replay === null) return byName.get(strategy.name)!
        const { curve } = byName.get(strategy.along ?? '') ?? this.#undisturbed.get(draw.seed)!
        return this.#walked(
          strategy,
          draw,
          curve.map(([step, , loss]) => [step, loss] as const),
        )
      })
    })
  }

  get #fold(): number {
    const { iterationSeconds } = this.#scenario
    return iterationSeconds === null ? 1 : iterationSeconds / this.#stepSeconds
  }

  /** Of the scenario, of an undisturbed iteration. */
  get #iterationSeconds(): number {
    return this.#scenario.iterationSeconds ?? this.#stepSeconds
  }

  #job(given: Partial<PlayJob>): PlayJob {
    const { run, data, peers, network, compute, budget, seeds } = this.#scenario
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
      machine: this.#machine,
      fold: 1,
      iterationHours: 0,
      losses: [],
      atBoundaries: this.#scenario.iterationSeconds !== null,
      targetLoss: null,
      hours: null,
      ...given,
    }
  }

  #play(jobs: readonly PlayJob[]): Promise<PlayOutcome[]> {
    const tasks = jobs.map((job) => taskOf(job, this.#folder, this.#digest))
    return this.#outcomes<PlayTask, PlayOutcome>(tasks, 'worker')
  }

  /** Those that were played before are taken from the cache; each is played once. @param program of the worker */
  async #outcomes<Task extends PlayTask | ScaleTask, Outcome>(
    tasks: readonly Task[],
    program: string,
  ): Promise<Outcome[]> {
    const { workers, progress } = this.#lab
    const cache = new Cache<Outcome>(this.#lab.cache)
    const outcomes = new Map<string, Outcome>()
    const missing = new Map<string, Task>()
    for (const task of tasks) {
      const known = outcomes.get(task.key) ?? cache.get(task.key)
      if (known === undefined) missing.set(task.key, task)
      else outcomes.set(task.key, known)
    }
    const waiting = [...missing.values()]
    if (waiting.length > 0) {
      const progressing = progress(waiting)
      const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
      await doAll<Task, Outcome>(waiting, {
        program: new URL(`./${program}${extension}`, import.meta.url),
        workers,
        nameOf: ({ name }) => name,
        onOutcome: ({ key }, outcome) => {
          cache.put(key, outcome)
          outcomes.set(key, outcome)
          progressing.finished()
        },
        onSteps: (made) => progressing.steps(made),
      })
    }
    return tasks.map(({ key }) => outcomes.get(key)!)
  }

  #played(strategy: LabStrategy, draw: Draw, outcome: PlayOutcome): TrialResult {
    const { stepSeconds: _, steps, ...rest } = outcome
    return {
      strategy: strategy.name,
      failures: draw.failures,
      seed: draw.seed,
      source: 'played',
      ...rest,
      ...this.#ends(outcome.curve, steps, outcome.hours),
    }
  }

  #walked(strategy: LabStrategy, draw: Draw, curve: readonly Point[]): TrialResult {
    const { budget, targetLoss, stopAtTarget, setbacks } = this.#scenario
    const { name, replay } = strategy
    const times = this.#timesOf(strategy)
    const setback = setbacks[name]
    const backTo =
      typeof replay === 'number'
        ? toLastCheckpoint(replay)
        : (progress: number) => Math.max(0, progress - (setback ?? 0))
    const losses = stageLosses(draw.losses, this.#stages, this.#peers)
    const { iterations, progress, hours, ...walked } = walk({
      curve,
      losses: replay === 'calm' ? [] : losses,
      seconds: times.seconds,
      recoverySeconds: times.recoverySeconds,
      backTo,
      everySteps: this.#everySteps,
      iterationsMax: budget.iterations,
      hoursMax: budget.hours ?? Number.POSITIVE_INFINITY,
      targetLoss: stopAtTarget ? targetLoss : null,
    })
    const stageOf = (loss: Loss) => ('stage' in loss ? loss.stage : null)
    return {
      strategy: name,
      failures: draw.failures,
      seed: draw.seed,
      source: 'replayed',
      losses: walked.met.map(({ loss }) => ({ hours: loss.hours, stage: stageOf(loss) })),
      recoveries: walked.met.map(({ loss, iteration, lost }) => ({
        iteration,
        hours: loss.hours + times.recoverySeconds / 3_600,
        stage: stageOf(loss) ?? 0,
        strategy: name,
        skipped: [],
        seconds: times.recoverySeconds,
        bytes: 0,
        stepsLost: Math.floor(lost),
        weightError: null,
        lossBefore: null,
        lossAfter: null,
      })),
      iterations,
      hours,
      bytesPerIteration: times.bytesPerIteration,
      curve: walked.curve,
      failure: null,
      ...this.#ends(walked.curve, progress, hours),
    }
  }

  #timesOf({ name, stated }: LabStrategy): Times {
    const measured = this.#times.get(name)
    if (measured !== undefined) return measured
    const { iterationFactor = 1, recoverySeconds = RECOVERY_SECONDS } = stated ?? {}
    return {
      seconds: this.#iterationSeconds * iterationFactor,
      recoverySeconds,
      bytesPerIteration: {},
    }
  }

  /** What follows from a curve, and from the iterations that were not lost again. */
  #ends(curve: PlayOutcome['curve'], useful: number, hours: number) {
    const { targetLoss } = this.#scenario
    const reach = (points: readonly Point[]) =>
      targetLoss === null ? null : stepsTo(points, targetLoss)
    const iterations = reach(curve.map(([made, , loss]) => [made, loss] as const))
    const at = reach(curve.map(([, hour, loss]) => [hour, loss] as const))
    return {
      finalLoss: curve.at(-1)?.[2] ?? null,
      reached: iterations === null || at === null ? null : { iterations, hours: at },
      goodput: hours === 0 ? 0 : (useful * this.#iterationSeconds) / 3_600 / hours,
    }
  }
}

/** The same, with checkpoints that a short run gets to. */
function oftener(recovery: PlayJob['recovery']): PlayJob['recovery'] {
  const { checkpoint } = recovery
  if (checkpoint?.everySteps === undefined) return recovery
  const everySteps = Math.min(checkpoint.everySteps, PROBE_EVERY)
  return { ...recovery, checkpoint: { ...checkpoint, everySteps } }
}

/** @throws InputError if the file is not there, or not a curve */
function recordedCurve(curve: string, folder: string): Point[] {
  const path = resolve(folder, curve)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    throw new InputError(`curve ${curve}: ${path} cannot be read.`)
  }
  const points = text
    .trim()
    .split('\n')
    .filter((line) => /^\d/.test(line))
    .map((line) => line.split(',').map(Number) as [number, number])
  const wrong = points.find(([step, loss], i) => {
    const before = points[i - 1]?.[0] ?? -1
    return !(step > before) || !Number.isFinite(loss)
  })
  if (points.length < 2 || wrong !== undefined) {
    throw new InputError(
      `curve ${curve}: lines of iteration,loss are needed, the iterations rising${wrong ? `; see ${wrong.join(',')}` : ''}.`,
    )
  }
  return points
}
