/** One body stage against this machine's own matrix-product rate, in one run. */

import { median } from '../sim/strategies/statistics.ts'
import { LIMITS, sequencesPerRun } from '../stages/chunks.ts'
import { Graph } from '../stages/graph.ts'
import type { StageConfig } from '../stages/model.ts'
import { encodeModel } from '../stages/onnx.ts'
import { createLocalStage } from '../stages/onnx-stage.ts'
import { bodyPrograms } from '../stages/programs.ts'
import { Random } from '../stages/random.ts'
import { createSession, type SessionOptions, tensor } from '../stages/session.ts'
import { sharedFloats } from '../stages/stage.ts'
import { productFlops, productsOf } from './products.ts'
import { rounded, sideBySide } from './statistics.ts'

/** Square products of this size are compute-bound and fill every core. */
const PEAK_SIZE = 1024
/** Over which an update is spread when its share of a step is told. */
const TOKENS_OF_A_STEP = 4096

const random = new Random('bench')
const filled = (length: number) => sharedFloats(length).map(() => random.gaussian() * 0.05)

async function squareProduct(options: SessionOptions) {
  const graph = new Graph()
  const shape = [PEAK_SIZE, PEAK_SIZE]
  graph.output('c', graph.add('Gemm', [graph.float('a', shape), graph.float('b', shape)]))
  const session = await createSession(encodeModel(graph), options)
  const operand = () => tensor(filled(PEAK_SIZE ** 2), shape)
  const [a, b, c] = [operand(), operand(), operand()]
  return { run: () => session.runInto({ a, b }, { c }), release: () => session.release() }
}

/** What a run costs before its first product: a graph that takes all that `graph` takes, and computes one element. */
async function dispatch({ inputs }: Graph, options: SessionOptions) {
  const empty = new Graph()
  for (const { name, dtype, shape } of inputs) empty.input(name, dtype, shape)
  empty.output('y', empty.add('Neg', [empty.float('x', [1])]))
  const session = await createSession(encodeModel(empty), options)
  const memory = new Map(
    inputs.map(({ name, shape }) => [name, new Float32Array(shape.reduce((a, b) => a * b, 1))]),
  )
  const x = new Float32Array(1)
  const run = () => {
    const tensors = inputs.map(({ name, shape }) => [name, tensor(memory.get(name)!, shape)])
    const feeds = { ...Object.fromEntries(tensors), x: tensor(x, [1]) }
    return session.runInto(feeds, { y: tensor(x, [1]) })
  }
  return { run, release: () => session.release() }
}

/** What the algorithm cannot do without, a microbatch and an update. */
function floorOf(
  forward: Graph,
  backward: Graph,
  runs: number,
  activation: number,
  weights: number,
) {
  const floats = {
    // Weights, input, output; weights, sums in and out, input and two gradients.
    forward: weights + 2 * activation,
    backward: 3 * weights + 3 * activation,
    // Weight, gradient and two moments in; the same out, the gradient as zero.
    update: 8 * weights,
  }
  const megabytes = Object.entries(floats).map(([name, n]) => [name, rounded((4 * n) / 1e6)])
  return {
    forwardGflop: rounded((runs * productFlops(forward)) / 1e9),
    backwardGflop: rounded((runs * productFlops(backward)) / 1e9),
    megabytes: Object.fromEntries(megabytes) as Record<keyof typeof floats, number>,
  }
}

/** Seconds of processor time, all threads of this process together, of each call of each candidate. */
function countingCpu(candidates: Readonly<Record<string, () => Promise<unknown>>>) {
  const spent: Record<string, number[]> = {}
  const counting = Object.entries(candidates).map(([name, work]) => [
    name,
    async () => {
      const begun = process.cpuUsage()
      await work()
      const { user, system } = process.cpuUsage(begun)
      spent[name] = [...(spent[name] ?? []), (user + system) / 1e6]
    },
  ])
  return {
    candidates: Object.fromEntries(counting) as typeof candidates,
    /** The first call does not count. */
    seconds: (name: string) => median(spent[name]!.slice(1)),
  }
}

export async function benchStage(config: StageConfig, threads: number, rounds = 5) {
  const options = { provider: 'cpu', threads } as const
  const sequences = sequencesPerRun(config, options)
  const runs = config.microbatch.batch / sequences
  const { forward, backward } = bodyPrograms(config, sequences, LIMITS)
  const square = await squareProduct(options)
  const empty = await dispatch(backward, options)
  const products = await productsOf(
    [
      [forward, runs],
      [backward, runs],
    ],
    options,
  )
  const stage = await createLocalStage(config, 1, { ...options, random: new Random(1) })
  if (stage.kind !== 'body') throw new Error('stage 1 is a body stage')
  const tokens = config.microbatch.batch * config.microbatch.context
  const input = filled(tokens * config.model.hiddenSize)
  const gradient = filled(input.length)

  const cpu = countingCpu({
    square: square.run,
    ...products.candidates,
    forward: () => stage.forward(input),
    backward: () => stage.backward(input, gradient),
    update: () => stage.update({ learningRate: 1e-6, gradientScale: 1 }),
    dispatch: empty.run,
    // A worker's calls take a copy of each activation along; results are handed over.
    copies: async () => [input.slice(), input.slice(), gradient.slice()],
  })
  const seconds: Record<string, number> = await sideBySide(rounds, cpu.candidates)
  for (const { release } of [square, empty, products]) await release()
  await stage.close()

  const of = (name: string) => seconds[name]!
  const computing = of('forward') + of('backward')
  const step = (computing * TOKENS_OF_A_STEP) / tokens + of('update')
  const cpuStep =
    cpu.seconds('forward') +
    cpu.seconds('backward') +
    (cpu.seconds('update') * tokens) / TOKENS_OF_A_STEP
  const squareGflop = (2 * PEAK_SIZE ** 3) / 1e9
  const overhead = 2 * runs * of('dispatch') + of('copies')
  const floor = floorOf(forward, backward, runs, input.length, stage.weights.length)
  const squareRate = (squareGflop * 1e9) / of('square')
  const gflop = floor.forwardGflop + floor.backwardGflop
  const productSeconds = products.seconds(seconds)
  const stepSeconds = (step * tokens) / TOKENS_OF_A_STEP
  return {
    threads,
    tokens,
    sequencesPerRun: sequences,
    gemmPeakGflops: rounded(squareRate / 1e9),
    sameShapesGflops: rounded(gflop / productSeconds),
    stageGflops: rounded(gflop / stepSeconds),
    shareOfPeak: rounded((gflop / stepSeconds / squareRate) * 1e9),
    shareOfPeakCpu: rounded(gflop / cpuStep / (squareGflop / cpu.seconds('square'))),
    shareOfSameShapes: rounded(productSeconds / stepSeconds),
    optimizerShare: rounded(of('update') / step),
    copiesAndDispatchShare: rounded(overhead / (computing + of('copies'))),
    milliseconds: {
      forward: rounded(of('forward') * 1e3),
      backwardWithRecompute: rounded(of('backward') * 1e3),
      update: rounded(of('update') * 1e3),
    },
    floor,
    parameters: stage.weights.length,
  }
}
