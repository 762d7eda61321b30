/**
 * `npm run bench:stage`: how near a body stage comes to this machine's matrix products, at three widths. Fails unless each
 * reaches its share; nothing else should run meanwhile.
 */
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

/** All in one body stage, each with the share of the peak that it must reach. */
const SHAPES: readonly (readonly [Shape, shareOfPeakMin: number])[] = [
  [[128, 344, 6, 128, 16], 0.6],
  [[512, 1376, 2, 512, 4], 0.8],
  [[1024, 2752, 2, 512, 2], 0.8],
]
const OPTIMIZER_SHARE_MAX = 0.03
const COPIES_AND_DISPATCH_SHARE_MAX = 0.05
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
for (const [shape, shareOfPeakMin] of SHAPES) {
  const [hiddenSize, intermediateSize, layers, context, batch] = shape
  const measured = await benchStage(configOf(shape), threads)
  const bounds = {
    shareOfPeakMin,
    optimizerShareMax: OPTIMIZER_SHARE_MAX,
    copiesAndDispatchShareMax: COPIES_AND_DISPATCH_SHARE_MAX,
  }
  const passed =
    measured.shareOfPeak >= bounds.shareOfPeakMin &&
    measured.optimizerShare <= bounds.optimizerShareMax &&
    measured.copiesAndDispatchShare <= bounds.copiesAndDispatchShareMax
  stages.push({ hiddenSize, intermediateSize, layers, context, batch, ...measured, bounds, passed })
}
const machine = {
  cores: threads,
  processor: cpus()[0]?.model.trim(),
  node: process.versions.node,
}
const passed = stages.every((stage) => stage.passed)
const result = { format: 'gensyn-bench-stage', version: 1, machine, stages, passed }
console.log(JSON.stringify(result, null, 2))
if (!passed) process.exitCode = 1
