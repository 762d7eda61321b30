/** Tokens a second of a swarm of processes on this machine, as a share of the same training in one process. */
import { join } from 'node:path'
import { loadCorpus } from '../src/corpus.ts'
import { newRun } from '../src/init.ts'
import type { Run } from '../src/run.ts'
import { localSwarm, WARM_UP_STEPS } from './local-swarm.ts'
import { createSingleProcess } from './single-process.ts'
import { median, rounded } from './statistics.ts'

/** Of a swarm, after its warm-up. */
const MEASURED_STEPS = 40
/** Of one process, which is warm sooner: it compiles nothing but the stages. */
const SINGLE_STEPS = 20
const SINGLE_WARM_UP_STEPS = 5

/** What is trained, as far as it differs from a new run's defaults. */
export interface SwarmCase {
  /** The ends and so many body stages but one. */
  readonly processes: number
  readonly hidden: number
}

/** @param threads of the one process; each of the swarm's has one */
export async function benchSwarm({ processes, hidden }: SwarmCase, threads: number) {
  const steps = WARM_UP_STEPS + MEASURED_STEPS
  const settings = {
    steps: String(steps),
    stages: String(processes - 1),
    hidden: String(hidden),
    evaluateEvery: String(10 * steps),
  }
  const run = await newRun(settings, undefined, process.cwd())
  // Before and after, so that a machine that changes its speed does so for both.
  const before = await singleProcess(run, threads)
  const swarm = await localSwarm(run)
  const after = await singleProcess(run, threads)
  const single = (before.tokensPerSecond + after.tokensPerSecond) / 2
  const { main, stage, helpers } = swarm.cpuSeconds
  const floor = floorBytes(run)
  return {
    processes: swarm.processes,
    hidden,
    layers: run.model.layers,
    keep: run.keep,
    keepDtype: run.keepDtype,
    tokensPerSecond: rounded(swarm.tokensPerSecond),
    singleProcess: { threads, tokensPerSecond: rounded(single) },
    shareOfSingleProcess: rounded(swarm.tokensPerSecond / single),
    cpuSecondsPerStep: {
      stages: rounded(stage),
      mainThreads: rounded(main),
      helperThreads: rounded(helpers),
      singleProcess: rounded((before.cpuSeconds + after.cpuSeconds) / 2),
    },
    shareOfCpu: rounded((before.cpuSeconds + after.cpuSeconds) / 2 / (main + stage + helpers)),
    bytesPerMicrobatch: {
      atSockets: Math.round(swarm.bytesPerMicrobatch),
      floor,
      overFloor: rounded(swarm.bytesPerMicrobatch / floor, 4),
    },
  }
}

/** One process, without a network: what the others are held against. */
export async function benchSingle(hidden: number, threads: number) {
  const run = await newRun({ hidden: String(hidden) }, undefined, process.cwd())
  const { tokensPerSecond, cpuSeconds } = await singleProcess(run, threads)
  return {
    processes: 1,
    hidden,
    layers: run.model.layers,
    keep: run.keep,
    keepDtype: run.keepDtype,
    threads,
    tokensPerSecond: rounded(tokensPerSecond),
    cpuSecondsPerStep: rounded(cpuSeconds),
  }
}

/** Every hop's activation and gradient once, and nothing else: from the ends through each body stage and back to them. */
function floorBytes({ stages, microbatch: { batch, context }, model }: Run): number {
  return 2 * (stages + 1) * batch * context * model.hiddenSize * Float32Array.BYTES_PER_ELEMENT
}

async function singleProcess(run: Run, threads: number) {
  const corpus = await loadCorpus(run, join(process.cwd(), 'run.json'))
  const single = await createSingleProcess(run, corpus, threads)
  const seconds: number[] = []
  let cpu = process.cpuUsage()
  for (let step = 1; step <= SINGLE_WARM_UP_STEPS + SINGLE_STEPS; step++) {
    if (step === SINGLE_WARM_UP_STEPS + 1) cpu = process.cpuUsage()
    const begun = performance.now()
    await single.step(step)
    if (step > SINGLE_WARM_UP_STEPS) seconds.push((performance.now() - begun) / 1000)
  }
  const { user, system } = process.cpuUsage(cpu)
  await single.close()
  const { batch, context } = run.microbatch
  return {
    tokensPerSecond: (run.microbatches * batch * context) / median(seconds),
    cpuSeconds: (user + system) / 1e6 / SINGLE_STEPS,
  }
}
