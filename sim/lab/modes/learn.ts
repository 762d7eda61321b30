/**
 * The mode `learn`: trains the model, in virtual time.
 * A strategy whose steps are those of another run is not played.
 * Short runs measure the times of such a strategy, and its losses come from the curve of the other run.
 */
import { InputError } from '../../../src/base/errors.ts'
import { type Bench, type Draw, type Mode, playAll, type Question } from '../bench.ts'
import type { PlayJob, PlayOutcome } from '../play-job.ts'
import type { TrialResult } from '../results.ts'
import type { LabStrategy } from '../strategies.ts'
import {
  playedResult,
  RECOVERY_SECONDS,
  statedTimes,
  type Times,
  walkedResult,
} from '../trial-results.ts'

/** Number of steps of a short run that measures the time of a step. */
const PROBE_STEPS = 16
/** Number of steps of a short run before the loss of a stage. */
const PROBE_CALM = 8
/** Most steps between two checkpoints of a short run, so that one is complete when the stage is lost. */
const PROBE_EVERY = 4

interface Measurements {
  /** Virtual seconds of an undisturbed iteration. */
  readonly stepSeconds: number
  /** The undisturbed run of each seed. */
  readonly undisturbed: ReadonlyMap<number, PlayOutcome>
  /** Measured times of each replayed strategy that does not state its times. */
  readonly times: ReadonlyMap<string, Times>
}

export const learn: Mode = {
  check({ bench: { shape }, strategies }, draws) {
    const replayed = strategies.find(({ replay }) => replay !== null && replay !== 'calm')
    const ofPeers = draws.some(({ losses }) => losses.some((loss) => 'slot' in loss))
    if (replayed === undefined || !ofPeers || shape.peers <= shape.whole) return
    throw new InputError(
      `strategy ${replayed.name}: where stages have several holders and single peers fail it cannot be computed from the undisturbed run; spell it out without \`replay\`, so that it is played.`,
    )
  },

  async trials(question) {
    const measurements = await measure(question)
    const draws = question.drawn(iterationSecondsOf(question.bench, measurements.stepSeconds))
    return learnAll(question, draws, measurements)
  },
}

/** Seconds of an undisturbed iteration: the scenario's value, or the measured one. */
function iterationSecondsOf({ scenario }: Bench, stepSeconds: number): number {
  return scenario.iterationSeconds ?? stepSeconds
}

/** Number of seconds of the scenario in one second of virtual time. */
function foldOf({ scenario }: Bench, stepSeconds: number): number {
  const { iterationSeconds } = scenario
  return iterationSeconds === null ? 1 : iterationSeconds / stepSeconds
}

/** Plays the undisturbed run of each seed as far as the scenario's trials go: to their target, or to the end. */
async function measure({ bench, strategies }: Question): Promise<Measurements> {
  const { seeds, stopAtTarget } = bench.scenario
  const targetLoss = stopAtTarget ? bench.scenario.targetLoss : null
  const outcomes = await playAll(
    bench,
    seeds.map((seed) => ({ seed, recovery: { policy: ['random'] }, targetLoss })),
  )
  const { stepSeconds } = outcomes[0]!
  const replayed = strategies.filter(({ replay, stated }) => replay !== null && stated === null)
  return {
    stepSeconds,
    undisturbed: new Map(seeds.map((seed, i) => [seed, outcomes[i]!])),
    times: await timesOf(bench, replayed, iterationSecondsOf(bench, stepSeconds)),
  }
}

/** Measures strategies by two short runs of each: one without losses, and one in which a stage is lost. */
async function timesOf(
  bench: Bench,
  strategies: readonly LabStrategy[],
  iterationSeconds: number,
): Promise<Map<string, Times>> {
  const probe = (recovery: PlayJob['recovery'], losses: PlayJob['losses']) => ({
    recovery: oftener(recovery),
    losses,
    steps: PROBE_STEPS,
  })
  const base = probe({ policy: ['random'] }, [])
  const [first, ...calm] = await playAll(bench, [
    base,
    ...strategies.map(({ recovery }) => probe(recovery, [])),
  ])
  const stage = Math.ceil(bench.shape.stages / 2)
  const rough = await playAll(
    bench,
    strategies.map(({ recovery }, i) => {
      const hours = (PROBE_CALM * calm[i]!.stepSeconds) / 3_600
      return probe(recovery, [{ hours, stage }])
    }),
  )
  return new Map(
    strategies.map(({ name, recovery }, i) => {
      const factor = calm[i]!.stepSeconds / first!.stepSeconds
      return [name, timesFrom(recovery, factor, calm[i]!, rough[i]!, iterationSeconds)]
    }),
  )
}

/**
 * Times of a strategy from its two short runs.
 * @param factor time of a step of the short run, as a multiple of the time without the strategy
 */
function timesFrom(
  recovery: PlayJob['recovery'],
  factor: number,
  calm: PlayOutcome,
  rough: PlayOutcome,
  iterationSeconds: number,
): Times {
  const { bytesPerIteration } = calm
  const held = rough.recoveries.find(({ strategy }) => strategy === recovery.policy?.[0])
  // Checkpoints are rarer than in the short run by this factor, and so is their cost.
  const share = PROBE_EVERY / Math.max(PROBE_EVERY, recovery.checkpoint?.everySteps ?? 0)
  const { checkpoints = 0 } = bytesPerIteration
  return {
    seconds: iterationSeconds * (1 + (factor - 1) * share),
    recoverySeconds: held?.seconds ?? RECOVERY_SECONDS,
    bytesPerIteration:
      checkpoints === 0
        ? bytesPerIteration
        : { ...bytesPerIteration, checkpoints: Math.round(checkpoints * share) },
  }
}

/** The same recovery settings, with checkpoints often enough for a short run. */
function oftener(recovery: PlayJob['recovery']): PlayJob['recovery'] {
  const { checkpoint } = recovery
  if (checkpoint?.everySteps === undefined) return recovery
  const everySteps = Math.min(checkpoint.everySteps, PROBE_EVERY)
  return { ...recovery, checkpoint: { ...checkpoint, everySteps } }
}

/** Plays the strategies without a replay, and computes the others from the curves of the played runs. */
async function learnAll(
  { bench, strategies }: Question,
  draws: readonly Draw[],
  { stepSeconds, undisturbed, times }: Measurements,
): Promise<TrialResult[]> {
  const { budget, targetLoss, stopAtTarget } = bench.scenario
  const iterationSeconds = iterationSecondsOf(bench, stepSeconds)
  const base = {
    fold: foldOf(bench, stepSeconds),
    iterationHours: iterationSeconds / 3_600,
    targetLoss: stopAtTarget ? targetLoss : null,
    hours: budget.hours,
  }
  const played = strategies.filter(({ replay }) => replay === null)
  const jobs = draws.flatMap(({ seed, losses }) =>
    played.map(({ recovery }) => ({ ...base, seed, recovery, losses })),
  )
  const outcomes = await playAll(bench, jobs)
  return draws.flatMap((draw) => {
    const byName = new Map(
      played.map((strategy) => [
        strategy.name,
        playedResult(bench, strategy, draw, outcomes.shift()!, iterationSeconds),
      ]),
    )
    return strategies.map((strategy): TrialResult => {
      const { name, replay, along } = strategy
      if (replay === null) return byName.get(name)!
      const { curve } = byName.get(along ?? '') ?? undisturbed.get(draw.seed)!
      const points = curve.map(([step, , loss]) => [step, loss] as const)
      const taken = times.get(name) ?? statedTimes(strategy, iterationSeconds)
      return walkedResult(bench, strategy, draw, points, taken, iterationSeconds)
    })
  })
}
