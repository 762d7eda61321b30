/**
 * `npm run bench:stage`: how near a body stage comes to what this machine can do, at three widths. JSON on the standard
 * output, a sentence for each bound on the standard error. Exits with 1 if the stage misses a bound.
 * `npm run bench:stage -- 128` measures one width.
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

const SHAPES: readonly Shape[] = [
  [128, 344, 6, 128, 16],
  [512, 1376, 2, 512, 4],
  [1024, 2752, 2, 512, 2],
]

/** A part of a step, and the least ratio of its ceiling to its time. */
interface Bound {
  readonly part: 'computing' | 'update'
  readonly what: string
  readonly ceiling: string
  readonly least: number
}

/** Bounds for all widths and machines. The measured ceilings contain the differences between machines. */
const BOUNDS: readonly Bound[] = [
  {
    part: 'computing',
    what: 'forward and backward',
    ceiling: 'its products alone, and a pass over memory for each other operator',
    least: 0.7,
  },
  {
    part: 'update',
    what: 'update',
    ceiling:
      'a pass for each operator, or its bytes at the bandwidth of the memory; then the zeros',
    // A division or a root takes longer than the addition that stands for a pass.
    least: 0.5,
  },
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
const wanted = process.argv.slice(2).map(Number)
const stages = []
for (const shape of SHAPES.filter(([width]) => wanted.length === 0 || wanted.includes(width))) {
  const [hiddenSize, intermediateSize, layers, context, batch] = shape
  const measured = await benchStage(configOf(shape), threads)
  const clock = measured.clock === 'wall' ? 'by the clock' : 'by processor time, on a busy machine'
  const bounds = BOUNDS.map(({ part, what, ceiling, least }) => {
    const { milliseconds, ceilingMilliseconds, ratio } = measured[part]
    const passed = ratio >= least
    console.error(
      `${passed ? 'pass' : 'FAIL'}: hidden size ${hiddenSize}, ${what}: ${milliseconds} ms ${clock}. This machine needs ${ceilingMilliseconds} ms (${ceiling}): ratio ${ratio}, at least ${least}`,
    )
    return { part, ratio, least, passed }
  })
  const passed = bounds.every((bound) => bound.passed)
  stages.push({ hiddenSize, intermediateSize, layers, context, batch, ...measured, bounds, passed })
}
const machine = {
  cores: threads,
  processor: cpus()[0]?.model.trim(),
  node: process.versions.node,
}
const passed = stages.every((stage) => stage.passed)
const result = { format: 'gensyn-bench-stage', version: 2, machine, stages, passed }
console.log(JSON.stringify(result, null, 2))
if (!passed) process.exitCode = 1
