/** Tokens a second of a swarm of processes on this machine, as a share of the same training in one process. */
import { join } from 'node:path'
import { median } from '../sim/lab/statistics.ts'
import { newRun } from '../src/cli/init.ts'
import { loadCorpus } from '../src/data/corpus.ts'
import type { Run } from '../src/run/run.ts'
import { localSwarm } from './local-swarm.ts'
import { createSingleProcess } from './single-process.ts'
import { rounded } from './statistics.ts'

interface Counts {
  /** Of a swarm. The first steps fill caches, arenas and connections, and V8 still compiles: they do not count. */
  readonly warmUp: number
  readonly measured: number
  /** Of one process, which is warm sooner: it compiles nothing but the stages. */
  readonly singleWarmUp: number
  readonly single: number
}

/** Steps. Those of wider models take longer, and less of each is what has to become warm. */
function countsOf(hidden: number): Counts {
  if (hidden <= 128) return { warmUp: 60, measured: 40, singleWarmUp: 5, single: 20 }
  if (hidden <= 256) return { warmUp: 40, measured: 20, singleWarmUp: 2, single: 8 }
  return { warmUp: 8, measured: 12, singleWarmUp: 1, single: 5 }
}

/** What is trained, as far as it differs from a new run's defaults. */
export interface SwarmCase {
  /** The ends and so many body stages but one. */
  readonly processes: number
  readonly hidden: number
}

/** @param threads of the one process; each of the swarm's has one */
export async function benchSwarm({ processes, hidden }: SwarmCase, threads: number) {
  const counts = countsOf(hidden)
  const steps = counts.warmUp + counts.measured
  const settings = {
    steps: String(steps),
    stages: String(processes - 1),
    hidden: String(hidden),
    evaluateEvery: String(10 * steps),
    // No upkeep: one process keeps no copies either. What each strategy's costs is in docs/STRATEGIES.md.
    policy: 'checkfree,copy,random',
  }
  const run = await newRun(settings, undefined, process.cwd())
  // Before and after, so that a machine that changes its speed does so for both.
  const before = await singleProcess(run, threads, counts)
  const swarm = await localSwarm(run, counts.warmUp)
  const after = await singleProcess(run, threads, counts)
  const single = (before.tokensPerSecond + after.tokensPerSecond) / 2
  const { main, stage, helpers } = swarm.cpuSeconds
  const floor = floorBytes(run)
  return {
    processes: swarm.processes,
    hidden,
    layers: run.model.layers,
    keep: run.keep,
    keepDtype: run.keepDtype,
    steps: counts,
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
  const { tokensPerSecond, cpuSeconds } = await singleProcess(run, threads, countsOf(hidden))
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

async function singleProcess(run: Run, threads: number, counts: Counts) {
  const corpus = await loadCorpus(run, join(process.cwd(), 'run.json'))
  const single = await createSingleProcess(run, corpus, threads)
  const seconds: number[] = []
  let cpu = process.cpuUsage()
  for (let step = 1; step <= counts.singleWarmUp + counts.single; step++) {
    if (step === counts.singleWarmUp + 1) cpu = process.cpuUsage()
    const begun = performance.now()
    await single.step(step)
    if (step > counts.singleWarmUp) seconds.push((performance.now() - begun) / 1000)
  }
  const { user, system } = process.cpuUsage(cpu)
  await single.close()
  const { batch, context } = run.microbatch
  return {
    tokensPerSecond: (run.microbatches * batch * context) / median(seconds),
    cpuSeconds: (user + system) / 1e6 / counts.single,
  }
}
