/**
 * `npm run bench:checkpoint`: what a checkpoint every step costs a body stage, lazy and synchronous, against none. The stage
 * computes in its own thread with all cores, as a node's does, so that copying, hashing and writing take time from it. The
 * kinds of step alternate in changing order, so that other work on the machine affects all kinds alike. A lazy step contains
 * all of its own copying and writing.
 *
 * Exits with 1 if a lazy checkpoint takes more processor time than the bound allows. The bound is relative to copying,
 * hashing and writing the same bytes alone, timed in the same rounds. A share of the step is printed and not judged: a
 * machine that computes faster spends a larger share of a step on the same bytes.
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
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

/** A round has one step of each kind. The first round does not count. */
const ROUNDS = Number(process.argv[2] ?? 25)
/**
 * Sequences of a microbatch; a step has four microbatches. The default is four times that of a new run, and a thirtieth of a
 * step in the paper. A checkpoint's share of a step falls with the tokens of the step, and hardly depends on the width.
 */
const BATCH = process.argv[3] ?? '16'

/** Most processor time of a lazy checkpoint, over that of copying, hashing and writing the same bytes alone. */
const MOST = 2

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

/** A step from one update to the next, with the checkpoint of the update before. */
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

const state = [stage.weights, stage.moments.firstMoment, stage.moments.secondMoment]
const copies = state.map(({ length }) => new Float32Array(length))

/** Seconds of processor time that the bytes of a checkpoint need at least: a copy, a hash and a write, one by one. */
function plainSeconds(): number {
  const used = process.cpuUsage()
  for (const [i, copy] of copies.entries()) {
    copy.set(state[i]!)
    createHash('sha256').update(copy).digest()
    writeFileSync(join(folder, `plain-${i}`), copy)
  }
  const { user, system } = process.cpuUsage(used)
  return (user + system) / 1e6
}

const names = Object.keys(KINDS) as Kind[]
const lists = () => ({ none: [], lazy: [], synchronous: [] }) as Record<Kind, number[]>
const seconds = lists()
/** Processor time of all threads, which other work on the machine disturbs less than the clock. */
const cpuSeconds = lists()
const plain: number[] = []
for (let round = 0; round <= ROUNDS; round++) {
  for (let turn = 0; turn < names.length; turn++) {
    const kind = names[(turn + round) % names.length]!
    const begun = performance.now()
    const used = process.cpuUsage()
    await KINDS[kind]()
    await stage.update({ learningRate: 1e-4, gradientScale: 1e-3 })
    const taken = (performance.now() - begun) / 1000
    const { user, system } = process.cpuUsage(used)
    // No checkpoint is committed here, so every file may be removed.
    for (const { name } of await store.list('step-')) await store.remove(name)
    if (round === 0) continue
    seconds[kind].push(taken)
    cpuSeconds[kind].push((user + system) / 1e6)
  }
  plain.push(plainSeconds())
}
await stage.close()
rmSync(folder, { recursive: true })

/** The median of some values, and an interval that holds the true median with 95 % confidence. */
function interval(values: readonly number[]) {
  const sorted = values.toSorted((a, b) => a - b)
  // Order statistics: the number of values below the true median is binomial.
  const reach = Math.ceil(0.98 * Math.sqrt(sorted.length))
  const middle = sorted.length / 2
  const low = sorted[Math.max(0, Math.floor(middle - reach))]!
  const high = sorted[Math.min(sorted.length - 1, Math.ceil(middle + reach) - 1)]!
  return { median: rounded(median(values)), from: rounded(low), to: rounded(high) }
}

const ratio = (of: Record<Kind, number[]>, kind: Kind) =>
  interval(of[kind].map((value, i) => value / of.none[i]!))
const both = (kind: Kind) => ({ wall: ratio(seconds, kind), cpu: ratio(cpuSeconds, kind) })
const least = Math.min(...plain)
const lazyOverPlain = interval(
  cpuSeconds.lazy.map((value, i) => (value - cpuSeconds.none[i]!) / least),
)
// Whole steps differ by more than a checkpoint takes, so only a significant excess counts.
const passed = lazyOverPlain.from <= MOST
const machine = { cores: threads, processor: cpus()[0]?.model.trim(), node: process.versions.node }
const result = {
  format: 'gensyn-bench-checkpoint',
  version: 2,
  machine,
  tokensOfAStep: run.microbatches * batch * context,
  megabytesOfAStep: rounded(bytes / 1e6),
  stepSeconds: rounded(median(seconds.none!)),
  rounds: ROUNDS,
  lazyOverNone: rounded(median(seconds.lazy) / median(seconds.none)),
  synchronousOverNone: rounded(median(seconds.synchronous) / median(seconds.none)),
  ofARound: { lazy: both('lazy'), synchronous: both('synchronous') },
  plainMilliseconds: rounded(least * 1e3),
  lazyOverPlain,
  stalledElements: stalled,
  passed,
}
console.log(JSON.stringify(result, null, 2))
const { from, to } = lazyOverPlain
console.log(
  `${passed ? 'pass' : 'FAIL'}: a lazy checkpoint takes ${from} to ${to} times the processor time (95 % confidence) of copying, hashing and writing its bytes alone (${rounded(least * 1e3)} ms); ${MOST} times are allowed`,
)
if (!passed) process.exitCode = 1
