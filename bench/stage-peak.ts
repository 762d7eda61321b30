/** `node bench/stage-peak.ts`: peak memory of a stage with long sequences, streamed and not. One process for each. */
import { execFileSync } from 'node:child_process'
import { LIMITS, type Limits } from '../stages/chunks.ts'
import type { StageConfig } from '../stages/model.ts'
import { createLocalStage } from '../stages/onnx-stage.ts'
import { Random } from '../stages/random.ts'
import { rounded } from './statistics.ts'

export function configOf(context: number): StageConfig {
  return {
    model: {
      vocabSize: 32_000,
      hiddenSize: 256,
      intermediateSize: 688,
      layers: 1,
      heads: 4,
      keyValueHeads: 4,
      ropeTheta: 10_000,
      rmsNormEps: 1e-5,
    },
    microbatch: { batch: 1, context },
    optimizer: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
    bodyStages: 1,
  }
}

export const STREAMED = LIMITS
export const WHOLE: Limits = {
  ...LIMITS,
  logits: Number.MAX_SAFE_INTEGER,
  scores: Number.MAX_SAFE_INTEGER,
}
const CASES: Readonly<Record<string, readonly [stage: 0 | 1, limits: Limits]>> = {
  'ends whole': [0, WHOLE],
  'ends streamed': [0, STREAMED],
  'body whole': [1, WHOLE],
  'body streamed': [1, STREAMED],
}

/** Two microbatches through a stage; seconds of the second, and what it has learnt from them. */
export async function train(config: StageConfig, index: 0 | 1, limits: Limits) {
  const random = new Random('peak')
  const options = { provider: 'cpu', threads: 2, random, limits } as const
  const stage = await createLocalStage(config, index as number, options)
  const { batch, context } = config.microbatch
  const length = batch * context * config.model.hiddenSize
  const x = Float32Array.from({ length }, () => random.gaussian())
  const targets = new Int32Array(batch * context).map(() => random.integer(32_000))
  const run = async () => {
    if (stage.kind === 'body') return stage.backward(x, x)
    return (await stage.lossAndGradient(x, targets)).inputGradient
  }
  await run()
  const begun = performance.now()
  const inputGradient = await run()
  const seconds = (performance.now() - begun) / 1000
  const norm = await stage.gradientNorm()
  await stage.close()
  return { seconds, inputGradient, norm }
}

/** Norm of the gradients and some of their elements, to be compared between cases. */
function sampled(gradient: Float32Array, norm: number): number[] {
  return [
    norm,
    ...Array.from({ length: 64 }, (_, i) => gradient[Math.floor((i * gradient.length) / 64)]!),
  ]
}

const name = process.argv[2]
if (import.meta.main && name !== undefined) {
  const { seconds, inputGradient, norm } = await train(configOf(4096), ...CASES[name]!)
  // In kilobytes, wherever Node runs.
  const peakMegabytes = process.resourceUsage().maxRSS / 1024
  console.log(JSON.stringify({ seconds, peakMegabytes, gradients: sampled(inputGradient, norm) }))
} else if (import.meta.main) {
  const results = Object.keys(CASES).map((each) => {
    const text = execFileSync(process.execPath, [import.meta.filename, each], { encoding: 'utf8' })
    const { seconds, peakMegabytes, gradients } = JSON.parse(text)
    return [each, { seconds: rounded(seconds), peakMegabytes: rounded(peakMegabytes), gradients }]
  })
  const all = Object.fromEntries(results)
  for (const kind of ['ends', 'body']) {
    const [whole, streamed] = [all[`${kind} whole`], all[`${kind} streamed`]]
    const largest = Math.max(...whole.gradients.slice(1).map(Math.abs))
    const errors = whole.gradients.map(
      (each: number, i: number) =>
        Math.abs(streamed.gradients[i] - each) / (i === 0 ? each : largest),
    )
    all[`${kind}: streamed over whole`] = {
      peak: rounded(streamed.peakMegabytes / whole.peakMegabytes),
      largestDifferenceOfGradients: rounded(Math.max(...errors)),
    }
    delete whole.gradients
    delete streamed.gradients
  }
  console.log(JSON.stringify(all, null, 2))
}
