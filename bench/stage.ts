/** One body stage against this machine's own matrix-product rate, in one run. */
import { Graph } from '../stages/graph.ts'
import type { StageConfig } from '../stages/model.ts'
import { encodeModel } from '../stages/onnx.ts'
import { createLocalStage } from '../stages/onnx-stage.ts'
import { Random } from '../stages/random.ts'
import { createSession, tensor } from '../stages/session.ts'
import { sharedFloats } from '../stages/stage.ts'
import { rounded, sideBySide } from './statistics.ts'

/** Square products of this size are compute-bound and fill every core. */
const PEAK_SIZE = 1024
const ROUNDS = 7

/** Multiply-adds count two. Attention is counted as it is computed: full squares, the causal half not left out. */
export function forwardFlops({ model, microbatch, bodyStages }: StageConfig): number {
  const { hiddenSize: d, intermediateSize: f, heads, keyValueHeads, layers } = model
  const { batch, context } = microbatch
  const matrices = d * d * 2 + 2 * d * d * (keyValueHeads / heads) + 3 * d * f
  const attention = 2 * context * d
  return (layers / bodyStages) * 2 * batch * context * (matrices + attention)
}

export async function benchStage(config: StageConfig, threads: number) {
  const graph = new Graph()
  const shape = [PEAK_SIZE, PEAK_SIZE]
  graph.output('c', graph.add('Gemm', [graph.float('a', shape), graph.float('b', shape)]))
  const options = { provider: 'cpu', threads } as const
  const gemm = await createSession(encodeModel(graph), options)
  const random = new Random('bench')
  const filled = (length: number) => sharedFloats(length).map(() => random.gaussian() * 0.05)
  const [a, b, c] = [filled(PEAK_SIZE ** 2), filled(PEAK_SIZE ** 2), sharedFloats(PEAK_SIZE ** 2)]
  const feeds = { a: tensor(a, shape), b: tensor(b, shape) }

  const stage = await createLocalStage(config, 1, { ...options, random: new Random(1) })
  if (stage.kind !== 'body') throw new Error('stage 1 is a body stage')
  const { batch, context } = config.microbatch
  const input = filled(batch * context * config.model.hiddenSize)
  const gradient = filled(input.length)

  const seconds = await sideBySide(ROUNDS, {
    gemm: () => gemm.runInto(feeds, { c: tensor(c, shape) }),
    forward: () => stage.forward(input),
    backward: () => stage.backward(input, gradient),
    update: () => stage.update({ learningRate: 1e-6, gradientScale: 1 }),
  })
  await stage.close()
  await gemm.release()

  const peak = (2 * PEAK_SIZE ** 3) / seconds.gemm
  // Backward recomputes the forward pass and makes two products for each of its own.
  const rate = (4 * forwardFlops(config)) / (seconds.forward + seconds.backward + seconds.update)
  return {
    threads,
    gemmPeakGflops: rounded(peak / 1e9),
    stageGflops: rounded(rate / 1e9),
    shareOfPeak: rounded(rate / peak),
    milliseconds: {
      forward: rounded(seconds.forward * 1e3),
      backwardWithRecompute: rounded(seconds.backward * 1e3),
      update: rounded(seconds.update * 1e3),
    },
    forwardGflop: rounded(forwardFlops(config) / 1e9),
    parameters: stage.weights.length,
  }
}
