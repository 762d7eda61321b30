/**
 * `npm run bench:checkpoint`: what a checkpoint every step costs a body stage: none, lazy, and synchronous, in turns. The
 * stage computes in its own thread with all cores, as a node's does, so that copying, hashing and writing take from it
 * what they take. The time of a lazy step holds the writing of the step before.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../protocols/clock.ts'
import { DirectoryStore } from '../src/checkpoint/directory-store.ts'
import { saveStage } from '../src/checkpoint/save.ts'
import { StageSaver } from '../src/checkpoint/stage-saver.ts'
import { newRun } from '../src/init.ts'
import { stageConfig } from '../src/run.ts'
import { Random } from '../stages/random.ts'
import { createWorkerStage } from '../stages/worker-stage.ts'
import { median, rounded } from './statistics.ts'

const ROUNDS = 3
/** Measured in a row, after one that is not. */
const STEPS = 3

/** Tokens of a step are twice the default run's: a checkpoint's share depends on them, and hardly on the width. */
const run = await newRun(
  { stages: '1', layers: '4', hidden: '256', intermediate: '688', batch: '8' },
  undefined,
  process.cwd(),
)
const threads = availableParallelism()
const folder = mkdtempSync(join(tmpdir(), 'gensyn-bench-'))
const store = new DirectoryStore(folder)
const stage = await createWorkerStage(stageConfig(run), 1, {
  provider: 'cpu',
  threads,
  random: new Random(run.seed),
})
const { batch, context } = run.microbatch
const random = new Random('bench')
const activation = () =>
  Float32Array.from({ length: batch * context * run.model.hiddenSize }, () => random.gaussian())
const [input, gradient] = [activation(), activation()]

async function compute(): Promise<void> {
  for (let i = 0; i < run.microbatches; i++) {
    await stage.forward(input)
    await stage.backward(input, gradient)
  }
  await stage.gradientNorm()
}

const saver = new StageSaver(store, () => systemClock.sleep(0))
const saved: Promise<{ bytes: number }>[] = []
let step = 0
let stalled = 0

function save() {
  step++
  const { parameters, weights, moments } = stage
  const fields = { updates: step, learningRateScale: 1, gradientNorm: 1 }
  const part = { run, step, stage: 1, replica: 0, replicas: 1, parameters, fields }
  return { ...part, tensors: { weights, ...moments } }
}

/** What each does before and after the update of a step. */
const MODES: Readonly<
  Record<string, { readonly before?: () => void; readonly after?: () => Promise<void> }>
> = {
  none: {},
  lazy: {
    before: () => {
      stalled += saver.beforeUpdate()
    },
    after: async () => {
      saved.push((await saver.begin(save())).saved)
    },
  },
  synchronous: {
    after: async () => {
      saved.push(Promise.resolve(await saveStage(store, save())))
    },
  },
}

const seconds: Record<string, number[]> = { none: [], lazy: [], synchronous: [] }
/** Of all threads: less shy of other work on the machine than the clock. */
const cpuSeconds: Record<string, number[]> = { none: [], lazy: [], synchronous: [] }
for (let round = 0; round < ROUNDS; round++) {
  for (const [mode, { before, after }] of Object.entries(MODES)) {
    for (let i = 0; i <= STEPS; i++) {
      const begun = performance.now()
      const used = process.cpuUsage()
      await compute()
      before?.()
      await stage.update({ learningRate: 1e-4, gradientScale: 1e-3 })
      await after?.()
      if (i === 0) continue
      seconds[mode]!.push((performance.now() - begun) / 1000)
      const { user, system } = process.cpuUsage(used)
      cpuSeconds[mode]!.push((user + system) / 1e6)
    }
    await Promise.all(saved)
    // Nothing is committed here, so that all of it may go.
    for (const { name } of await store.list('step-')) await store.remove(name)
  }
}
const [{ bytes }] = (await Promise.all(saved)) as [{ bytes: number }]
await stage.close()
rmSync(folder, { recursive: true })

const ratio = (of: Record<string, number[]>, mode: string) =>
  rounded(median(of[mode]!) / median(of.none!))
const both = (mode: string) => ({
  wall: ratio(seconds, mode),
  cpu: ratio(cpuSeconds, mode),
})
const machine = { cores: threads, processor: cpus()[0]?.model.trim(), node: process.versions.node }
const result = {
  format: 'gensyn-bench-checkpoint',
  version: 1,
  machine,
  tokensOfAStep: run.microbatches * batch * context,
  megabytesOfAStep: rounded(bytes / 1e6),
  stepSeconds: rounded(median(seconds.none!)),
  lazyOverNone: both('lazy'),
  synchronousOverNone: both('synchronous'),
  stalledElements: stalled,
}
console.log(JSON.stringify(result, null, 2))
