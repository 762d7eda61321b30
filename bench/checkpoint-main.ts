/**
 * `npm run bench:checkpoint`: what a checkpoint every step costs a body stage, lazy and synchronous, against none. The stage
 * computes in its own thread with all cores, as a node's does, so that copying, hashing and writing take from it what they
 * take. Each step is of another kind than the one before, in turns that change their order, so that a machine that is busy
 * with other work is so for all kinds; a step of the lazy kind holds all of its own copying and writing. Ends with 1 if the
 * lazy one costs more than 5 % of the step's time.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../protocols/clock.ts'
import { median } from '../sim/lab/statistics.ts'
import { DirectoryStore } from '../src/checkpoint/directory-store.ts'
import { saveStage } from '../src/checkpoint/save.ts'
import { StageSaver } from '../src/checkpoint/stage-saver.ts'
import { newRun } from '../src/cli/init.ts'
import { stageConfig } from '../src/run/run.ts'
import { Random } from '../stages/random.ts'
import { createWorkerStage } from '../stages/worker-stage.ts'
import { rounded } from './statistics.ts'

/** Of each kind one step, after one round that does not count. */
const ROUNDS = Number(process.argv[2] ?? 25)
/**
 * Sequences of a microbatch, of which a step has four. A checkpoint's share of a step goes with one over its tokens, and
 * hardly with the width: these are four times the default run's, and a thirtieth of those of the paper's steps.
 */
const BATCH = process.argv[3] ?? '16'

/** Of step time: what a lazy checkpoint every step may cost. */
const BOUND = 0.05

const run = await newRun(
  { stages: '1', layers: '4', hidden: '256', intermediate: '688', batch: BATCH },
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
let step = 0
let bytes = 0
let stalled = 0

function save() {
  step++
  const { parameters, weights, moments } = stage
  const fields = { updates: step, learningRateScale: 1, gradientNorm: 1 }
  const part = { run, step, stage: 1, replica: 0, replicas: 1, parameters, fields }
  return { ...part, tensors: { weights, ...moments } }
}

/** A step from one update to the next: with what follows the update before it, and what precedes its own. */
const KINDS = {
  none: () => compute(),
  async lazy() {
    const { saved } = await saver.begin(save())
    await compute()
    stalled += saver.beforeUpdate()
    bytes = (await saved).bytes
  },
  async synchronous() {
    await saveStage(store, save())
    await compute()
  },
}
type Kind = keyof typeof KINDS

const names = Object.keys(KINDS) as Kind[]
const lists = () => ({ none: [], lazy: [], synchronous: [] }) as Record<Kind, number[]>
const seconds = lists()
/** Of all threads: less shy of other work on the machine than the clock. */
const cpuSeconds = lists()
for (let round = 0; round <= ROUNDS; round++) {
  for (let turn = 0; turn < names.length; turn++) {
    const kind = names[(turn + round) % names.length]!
    const begun = performance.now()
    const used = process.cpuUsage()
    await KINDS[kind]()
    await stage.update({ learningRate: 1e-4, gradientScale: 1e-3 })
    const taken = (performance.now() - begun) / 1000
    const { user, system } = process.cpuUsage(used)
    // Nothing is committed here, so that all of it may go.
    for (const { name } of await store.list('step-')) await store.remove(name)
    if (round === 0) continue
    seconds[kind].push(taken)
    cpuSeconds[kind].push((user + system) / 1e6)
  }
}
await stage.close()
rmSync(folder, { recursive: true })

/** The median of the ratios of a round, and between which two 95 % of all medians of so many would lie. */
function ratio(of: Record<Kind, number[]>, kind: Kind) {
  const ratios = of[kind].map((value, i) => value / of.none[i]!).sort((a, b) => a - b)
  // Order statistics: the number of ratios below the true median is binomial.
  const reach = Math.ceil(0.98 * Math.sqrt(ratios.length))
  const middle = ratios.length / 2
  const low = ratios[Math.max(0, Math.floor(middle - reach))]!
  const high = ratios[Math.min(ratios.length - 1, Math.ceil(middle + reach) - 1)]!
  return { median: rounded(median(ratios)), from: rounded(low), to: rounded(high) }
}
const both = (kind: Kind) => ({ wall: ratio(seconds, kind), cpu: ratio(cpuSeconds, kind) })
const lazyOverNone = rounded(median(seconds.lazy) / median(seconds.none))
const machine = { cores: threads, processor: cpus()[0]?.model.trim(), node: process.versions.node }
const result = {
  format: 'gensyn-bench-checkpoint',
  version: 1,
  machine,
  tokensOfAStep: run.microbatches * batch * context,
  megabytesOfAStep: rounded(bytes / 1e6),
  stepSeconds: rounded(median(seconds.none!)),
  rounds: ROUNDS,
  lazyOverNone,
  synchronousOverNone: rounded(median(seconds.synchronous) / median(seconds.none)),
  ofARound: { lazy: both('lazy'), synchronous: both('synchronous') },
  stalledElements: stalled,
}
console.log(JSON.stringify(result, null, 2))
const cost = `a lazy checkpoint every step costs ${rounded(100 * (lazyOverNone - 1))} % of the step's time`
const isCheap = lazyOverNone <= 1 + BOUND
console.log(`${isCheap ? 'pass' : 'FAIL'}: ${cost}; at most ${100 * BOUND} % are allowed`)
if (!isCheap) process.exitCode = 1
