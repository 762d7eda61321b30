/** `npm run bench:stage`: how near a body stage comes to this machine's matrix products, at three widths. */
import { availableParallelism, cpus } from 'node:os'
import type { StageConfig } from '../stages/model.ts'
import { benchStage } from './stage.ts'

type Shape = [
  hiddenSize: number,
  intermediateSize: number,
  layers: number,
  context: number,
  batch: number,
]

/** All in one body stage. */
const SHAPES: readonly Shape[] = [
  [128, 344, 6, 128, 16],
  [512, 1376, 2, 512, 4],
  [1024, 2752, 2, 512, 2],
]
const HEAD_SIZE = 64

function configOf([hiddenSize, intermediateSize, layers, context, batch]: Shape): StageConfig {
  const heads = hiddenSize / HEAD_SIZE
  return {
    model: {
      vocabSize: 256,
      hiddenSize,
      intermediateSize,
      layers,
      heads,
      keyValueHeads: heads,
      ropeTheta: 10_000,
      rmsNormEps: 1e-5,
    },
    microbatch: { batch, context },
    optimizer: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
    bodyStages: 1,
  }
}

const threads = availableParallelism()
const stages = []
for (const shape of SHAPES) {
  const [hiddenSize, intermediateSize, layers, context, batch] = shape
  const measured = await benchStage(configOf(shape), threads)
  stages.push({ hiddenSize, intermediateSize, layers, context, batch, ...measured })
}
const machine = {
  cores: threads,
  processor: cpus()[0]?.model.trim(),
  node: process.versions.node,
}
const result = { format: 'gensyn-bench-stage', version: 1, machine, stages }
console.log(JSON.stringify(result, null, 2))
