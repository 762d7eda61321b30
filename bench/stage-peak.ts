/**
 * `npm run bench:peak`: peak memory of a stage with long sequences, streamed and whole, in a process for each. Exits with 1
 * if a streamed stage takes more than 40 % of the memory of a whole one, or if a gradient differs by more than 1e-5. Both
 * bounds compare two runs on the same machine, and do not depend on its speed.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import { LIMITS, type Limits } from '../stages/chunks.ts'
import type { StageConfig } from '../stages/model.ts'
import { createLocalStage } from '../stages/onnx-stage.ts'
import { parameterView } from '../stages/parameters.ts'
import { Random } from '../stages/random.ts'
import { rounded } from './statistics.ts'

const PEAK_MAX = 0.4
const DIFFERENCE_MAX = 1e-5
const CONTEXT = 4096
export const THREADS = 2

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

/** Gradients of the parameters by name, and of `input`. */
type Gradients = Readonly<Record<string, Float32Array>>

/** Runs one microbatch `times` times through a stage. Returns the seconds of the last run, and the gradients. */
export async function train(config: StageConfig, index: 0 | 1, limits: Limits, times: number) {
  const random = new Random('peak')
  const options = { provider: 'cpu', threads: THREADS, random, limits } as const
  const stage = await createLocalStage(config, index as number, options)
  const { batch, context } = config.microbatch
  const length = batch * context * config.model.hiddenSize
  const x = Float32Array.from({ length }, () => random.gaussian())
  const targets = new Int32Array(batch * context).map(() => random.integer(32_000))
  const run = async () => {
    if (stage.kind === 'body') return stage.backward(x, x)
    const { inputGradient } = await stage.lossAndGradient(x, targets)
    await stage.embedBackward(targets, inputGradient)
    return inputGradient
  }
  for (let i = 1; i < times; i++) await run()
  const begun = performance.now()
  const inputGradient = await run()
  const seconds = (performance.now() - begun) / 1000
  const { parameters, sums } = stage
  await stage.close()
  // The sums are in shared memory, which outlives the stage.
  const own = parameters.map((parameter) => [parameter.name, parameterView(sums, parameter)])
  const gradients: Gradients = { input: inputGradient, ...Object.fromEntries(own) }
  return { seconds, gradients }
}

/** Largest difference of an element, relative to the largest element of its tensor. */
function difference(expected: Gradients, actual: Gradients): number {
  const each = Object.entries(expected).map(([name, whole]) => {
    const other = actual[name]!
    const largest = whole.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    return (
      whole.reduce((most, value, i) => Math.max(most, Math.abs(value - other[i]!)), 0) / largest
    )
  })
  return Math.max(...each)
}

/** Runs a case in its own process, which writes its gradients to a file. */
function measure(name: string, folder: string) {
  const file = join(folder, 'gradients')
  const text = execFileSync(process.execPath, [import.meta.filename, name, file], {
    encoding: 'utf8',
  })
  const { seconds, peakMegabytes } = JSON.parse(text) as Record<string, number>
  const gradients = deserialize(readFileSync(file)) as Gradients
  return { told: { peakMegabytes: rounded(peakMegabytes!), seconds: rounded(seconds!) }, gradients }
}

function compare(kind: 'ends' | 'body', folder: string) {
  const whole = measure(`${kind} whole`, folder)
  const streamed = measure(`${kind} streamed`, folder)
  const peak = rounded(streamed.told.peakMegabytes / whole.told.peakMegabytes)
  const largestDifference = rounded(difference(whole.gradients, streamed.gradients))
  const passed = peak <= PEAK_MAX && largestDifference <= DIFFERENCE_MAX
  return { whole: whole.told, streamed: streamed.told, peak, largestDifference, passed }
}

const [, , name, file] = process.argv
if (import.meta.main && name !== undefined) {
  const { seconds, gradients } = await train(configOf(CONTEXT), ...CASES[name]!, 2)
  // maxRSS is in kilobytes on all systems.
  const peakMegabytes = process.resourceUsage().maxRSS / 1024
  console.log(JSON.stringify({ seconds, peakMegabytes }))
  writeFileSync(file!, serialize(gradients))
} else if (import.meta.main) {
  const folder = mkdtempSync(join(tmpdir(), 'bench-peak-'))
  const [ends, body] = [compare('ends', folder), compare('body', folder)]
  rmSync(folder, { recursive: true })
  const bounds = { peak: PEAK_MAX, largestDifference: DIFFERENCE_MAX }
  console.log(JSON.stringify({ context: CONTEXT, bounds, ends, body }, null, 2))
  if (!ends.passed || !body.passed) process.exitCode = 1
}
