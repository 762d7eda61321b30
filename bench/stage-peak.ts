/** `node bench/stage-peak.ts`: peak memory of a stage with long sequences, streamed and not. One process for each. */
import { execFileSync } from 'node:child_process'
import { LIMITS, type Limits } from '../stages/chunks.ts'
import type { StageConfig } from '../stages/model.ts'
import { createLocalStage } from '../stages/onnx-stage.ts'
import { Random } from '../stages/random.ts'
import { rounded } from './statistics.ts'

const config: StageConfig = {
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
  microbatch: { batch: 1, context: 4096 },
  optimizer: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
  bodyStages: 1,
}
const WHOLE: Limits = {
  ...LIMITS,
  logits: Number.MAX_SAFE_INTEGER,
  scores: Number.MAX_SAFE_INTEGER,
}
const CASES: Readonly<Record<string, readonly [stage: 0 | 1, limits: Limits]>> = {
  'ends whole': [0, WHOLE],
  'ends streamed': [0, LIMITS],
  'body whole': [1, WHOLE],
  'body streamed': [1, LIMITS],
}

/** Peak and seconds of the second microbatch of a case, in this process. */
async function measure([index, limits]: readonly [stage: 0 | 1, limits: Limits]) {
  const random = new Random('peak')
  const options = { provider: 'cpu', threads: 2, random, limits } as const
  const stage = await createLocalStage(config, index as number, options)
  const { batch, context } = config.microbatch
  const length = batch * context * config.model.hiddenSize
  const x = Float32Array.from({ length }, () => random.gaussian())
  const targets = new Int32Array(batch * context).map(() => random.integer(32_000))
  const run = () =>
    stage.kind === 'ends' ? stage.lossAndGradient(x, targets) : stage.backward(x, x)
  await run()
  const begun = performance.now()
  await run()
  const seconds = rounded((performance.now() - begun) / 1000)
  // In kilobytes, wherever Node runs.
  return { seconds, peakMegabytes: rounded(process.resourceUsage().maxRSS / 1024) }
}

const name = process.argv[2]
if (name !== undefined) console.log(JSON.stringify(await measure(CASES[name]!)))
else {
  const results = Object.keys(CASES).map((each) => {
    const text = execFileSync(process.execPath, [import.meta.filename, each], { encoding: 'utf8' })
    return [each, JSON.parse(text)]
  })
  console.log(JSON.stringify(Object.fromEntries(results), null, 2))
}
