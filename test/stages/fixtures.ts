/** A Llama small enough for any test, and tensors to put through it. */
import type { StageConfig } from '../../stages/model.ts'
import { Random } from '../../stages/random.ts'

export const config: StageConfig = {
  model: {
    vocabSize: 31,
    hiddenSize: 24,
    intermediateSize: 40,
    layers: 6,
    heads: 4,
    keyValueHeads: 2,
    ropeTheta: 10000,
    rmsNormEps: 1e-5,
  },
  microbatch: { batch: 2, context: 9 },
  optimizer: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
  bodyStages: 3,
}

export const options = { provider: 'cpu', threads: 1, random: new Random('test') } as const

const count = config.microbatch.batch * config.microbatch.context

export function activation(name: string): Float32Array {
  const random = new Random(name)
  return Float32Array.from({ length: count * config.model.hiddenSize }, () => random.gaussian())
}

export function tokens(name: string): Int32Array {
  const random = new Random(name)
  return Int32Array.from({ length: count }, () => random.integer(config.model.vocabSize))
}
