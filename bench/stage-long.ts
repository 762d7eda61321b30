/**
 * `npm run bench:long`: trains a stage in its own thread for 1,000 steps. Exits with 1 if resident memory leaves the 5 %
 * around its value after 50 steps, or if a thread does not end when asked to during a run.
 */
import type { StageConfig } from '../stages/model.ts'
import { Random } from '../stages/random.ts'
import type { BodyStage } from '../stages/stage.ts'
import { createWorkerStage } from '../stages/worker-stage.ts'
import { rounded } from './statistics.ts'

const STEPS = 1000
const SETTLED = 50
const SHARE = 0.05
/** Steps after which a second thread starts and ends with calls in flight. The first time takes memory that is used again. */
const STOPS = [25, 200, 400, 600, 800]
/** Ends a run that hangs. No bound on speed: two quiet cores need 0.013 s for a step. */
const STEP_SECONDS = 120

const config: StageConfig = {
  model: {
    vocabSize: 256,
    hiddenSize: 64,
    intermediateSize: 172,
    layers: 2,
    heads: 4,
    keyValueHeads: 4,
    ropeTheta: 10_000,
    rmsNormEps: 1e-5,
  },
  microbatch: { batch: 2, context: 64 },
  optimizer: { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
  bodyStages: 1,
}
const random = new Random('long')
const options = { provider: 'cpu', threads: 1, random } as const
const { batch, context } = config.microbatch
const length = batch * context * config.model.hiddenSize
const draw = () => Float32Array.from({ length }, () => random.gaussian())

/** Closes a stage that has queued calls: the stage finishes the calls, then its thread ends. */
async function stopInMidRun(): Promise<void> {
  const other = (await createWorkerStage(config, 1 as number, options)) as BodyStage
  const queued = Array.from({ length: 4 }, () => other.backward(draw(), draw()))
  await other.close()
  await Promise.all(queued)
}

const watchdog = setTimeout(() => {
  console.error(`no step within ${STEP_SECONDS} s: a thread does not end`)
  process.exit(1)
}, STEP_SECONDS * 1000).unref()

const stage = (await createWorkerStage(config, 1 as number, options)) as BodyStage
const megabytes: number[] = []
for (let step = 1; step <= STEPS; step++) {
  watchdog.refresh()
  for (let i = 0; i < 2; i++) {
    const { output, kept } = await stage.forwardKeeping(draw())
    await stage.backward(draw(), output, kept)
  }
  await stage.update({ gradientScale: 0.5, learningRate: 1e-4 })
  if (STOPS.includes(step)) {
    await stopInMidRun()
  }
  if (step % SETTLED === 0) {
    // Garbage is no leak, and its amount changes by more than a leak would.
    globalThis.gc?.()
    megabytes.push(process.memoryUsage().rss / 1e6)
  }
}
await stage.close()
clearTimeout(watchdog)
const [settled, ...later] = megabytes as [number, ...number[]]
const drift = Math.max(...later.map((each) => Math.abs(each / settled - 1)))
const passed = drift <= SHARE
console.log(
  JSON.stringify({
    steps: STEPS,
    stoppedInMidRun: STOPS.length,
    megabytes: megabytes.map((each) => rounded(each)),
    largestDrift: rounded(drift),
    passed,
  }),
)
if (!passed) process.exitCode = 1
