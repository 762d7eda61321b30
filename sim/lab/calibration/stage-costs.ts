/** Measures the times of a stage's methods on this machine, on one core and on all cores at once. */
import { availableParallelism } from 'node:os'
import type { Clock } from '../../../protocols/clock.ts'
import { type Run, stageConfig } from '../../../src/run/run.ts'
import type { Provider } from '../../../stages/provider.ts'
import { Random } from '../../../stages/random.ts'
import type { AnyStage, BodyStage, EndsStage } from '../../../stages/stage.ts'
import { createWorkerStage } from '../../../stages/worker-stage.ts'
import type { Costs } from '../../scenario.ts'
import { median } from '../statistics.ts'

export interface StageOptions {
  readonly provider: Provider
  /** Number of threads of each stage, as in the options of `join`. */
  readonly threads: number
}

/** Rounds that do not count; `ROUNDS` and `ROUNDS_LEAST` are the most and the fewest rounds that count. */
const WARM_UP = 8
const ROUNDS = 40
const ROUNDS_LEAST = 5
/** Time after which measuring stops, so a large model has fewer rounds. */
const ENOUGH_MS = 15_000
/** Most body stages that are built. The gain of more cores is extrapolated from these. */
const BODIES_MAX = 8
/** Options of an update whose learning rate hardly changes the weights. */
const UPDATE = { learningRate: 1e-9, gradientScale: 1 }

export interface StageCosts {
  readonly costMs: Costs
  readonly cores: number
}

/** Builds the ends and one body stage for each core, measures them, and frees them. */
export async function measureStages(
  run: Run,
  { provider, threads }: StageOptions,
  clock: Clock,
): Promise<StageCosts> {
  const config = stageConfig(run)
  const options = { provider, threads, random: new Random(run.seed) }
  const cores = availableParallelism()
  const begun = clock.now()
  // The first build also loads shared code, as does the first build of a process that joins a run.
  const bodies: BodyStage[] = [await createWorkerStage(config, 1, options)]
  const buildMs = clock.now() - begun
  while (bodies.length < Math.min(cores, BODIES_MAX)) {
    bodies.push(await createWorkerStage(config, 1, options))
  }
  const ends = await createWorkerStage(config, 0, options)
  try {
    const samples = new Samples(clock)
    const rounds = new Rounds(run, ends, bodies, samples)
    const measuringSince = clock.now()
    for (let round = 0; round < WARM_UP + ROUNDS; round++) {
      if (round === WARM_UP) samples.clear()
      await rounds.make(round)
      const enough = clock.now() - measuringSince > ENOUGH_MS
      if (enough && round >= WARM_UP + ROUNDS_LEAST) break
    }
    const together = await rounds.together(clock)
    const costMs = { ...samples.costs(run.stages), build: buildMs, close: 0 } as Costs
    return { costMs, cores: (together * cores) / bodies.length }
  } finally {
    await Promise.all([ends, ...bodies].map((stage) => stage.close()))
  }
}

/** Times of the methods of stages, by method and kind of stage. */
class Samples {
  readonly #clock: Clock
  readonly #ms = new Map<string, Record<AnyStage['kind'], number[]>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async time<T>(kind: AnyStage['kind'], method: string, work: () => Promise<T>): Promise<T> {
    const begun = this.#clock.now()
    const outcome = await work()
    const known = this.#ms.get(method) ?? { body: [], ends: [] }
    this.#ms.set(method, known)
    known[kind].push(this.#clock.now() - begun)
    return outcome
  }

  clear(): void {
    this.#ms.clear()
  }

  /** Median time of each method. If both kinds have it, the mean over `stages` body stages and the ends. */
  costs(stages: number): Record<string, number> {
    const costs = [...this.#ms].map(([method, { body, ends }]) => {
      if (body.length === 0) return [method, median(ends)]
      if (ends.length === 0) return [method, median(body)]
      return [method, (stages * median(body) + median(ends)) / (stages + 1)]
    })
    return Object.fromEntries(costs)
  }
}

/** Rounds of measurement: a microbatch through the ends and one body stage, then the work between two steps. */
class Rounds {
  readonly #run: Run
  readonly #ends: EndsStage
  readonly #bodies: readonly BodyStage[]
  readonly #samples: Samples
  readonly #random = new Random('calibration')

  constructor(run: Run, ends: EndsStage, bodies: readonly BodyStage[], samples: Samples) {
    this.#run = run
    this.#ends = ends
    this.#bodies = bodies
    this.#samples = samples
  }

  async make(round: number): Promise<void> {
    const ends = this.#ends
    const body = this.#bodies[round % this.#bodies.length]!
    const of = <T>(method: string, work: () => Promise<T>) =>
      this.#samples.time(method in body ? 'body' : 'ends', method, work)
    const [tokens, targets] = [this.#tokens(), this.#tokens()]
    const input = await of('embed', () => ends.embed(tokens))
    await of('forward', () => body.forward(input))
    const { output, kept } = await of('forwardKeeping', () => body.forwardKeeping(input))
    await of('loss', () => ends.loss(output, targets))
    const { inputGradient } = await of('lossAndGradient', () =>
      ends.lossAndGradient(output, targets),
    )
    const gradient = await of('backward', () => body.backward(input, inputGradient, kept))
    await of('embedBackward', () => ends.embedBackward(tokens, gradient))
    for (const stage of [ends, body]) await this.#between(stage)
  }

  async #between(stage: AnyStage): Promise<void> {
    const of = <T>(method: string, work: () => Promise<T>) =>
      this.#samples.time(stage.kind, method, work)
    await of('gradientNorm', () => stage.gradientNorm())
    await of('update', () => stage.update(UPDATE))
    await of('zeroGradients', () => stage.zeroGradients())
    const state = await of('optimizerState', () => stage.optimizerState())
    const weights = stage.weights.slice()
    await of('load', () => stage.load(weights, state))
  }

  /** Throughput of all body stages at once, as a multiple of the throughput of one. */
  async together(clock: Clock): Promise<number> {
    const input = await this.#ends.embed(this.#tokens())
    const pass = async (body: BodyStage) => {
      const { output, kept } = await body.forwardKeeping(input)
      await body.backward(input, output, kept)
    }
    const timed = async (bodies: readonly BodyStage[], passes: number) => {
      const begun = clock.now()
      await Promise.all(
        bodies.map(async (body) => {
          for (let i = 0; i < passes; i++) await pass(body)
        }),
      )
      return (clock.now() - begun) / passes
    }
    const once = await timed([this.#bodies[0]!], 1)
    const passes = Math.max(1, Math.min(20, Math.round(500 / once)))
    const gains: number[] = []
    for (let round = 0; round < ROUNDS_LEAST; round++) {
      const alone = await timed([this.#bodies[round % this.#bodies.length]!], passes)
      const all = await timed(this.#bodies, passes)
      gains.push((this.#bodies.length * alone) / all)
    }
    // Noise of the clock can give values outside the possible range.
    return Math.min(this.#bodies.length, Math.max(1, median(gains)))
  }

  #tokens(): Int32Array {
    const { microbatch, model } = this.#run
    return Int32Array.from({ length: microbatch.batch * microbatch.context }, () =>
      this.#random.integer(model.vocabSize),
    )
  }
}
