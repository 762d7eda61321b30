/** Tokens a second of a swarm of processes on this machine, relative to the same training in one process. */
import { join } from 'node:path'
import { median } from '../sim/lab/statistics.ts'
import { newRun } from '../src/cli/init.ts'
import { loadCorpus } from '../src/data/corpus.ts'
import type { Run } from '../src/run/run.ts'
import { localSwarm } from './local-swarm.ts'
import { createSingleProcess } from './single-process.ts'
import { rounded } from './statistics.ts'

interface Counts {
  /** Uncounted first steps of a swarm, which fill caches, arenas and connections, and in which V8 compiles. */
  readonly warmUp: number
  readonly measured: number
  /** Uncounted first steps of the one process, which runs less code and is warm sooner. */
  readonly singleWarmUp: number
  readonly single: number
}

/** Numbers of steps. Steps of wider models take longer, and a smaller part of them needs warming up. */
function countsOf(hidden: number): Counts {
  if (hidden <= 128) return { warmUp: 60, measured: 40, singleWarmUp: 5, single: 20 }
  if (hidden <= 256) return { warmUp: 40, measured: 20, singleWarmUp: 2, single: 8 }
  return { warmUp: 8, measured: 12, singleWarmUp: 1, single: 5 }
}

/** Settings that differ from the defaults of a new run. */
export interface SwarmCase {
  /** Number of processes: the ends, and the body stages. */
  readonly processes: number
  readonly hidden: number
}

/** @param threads threads of the one process; each process of the swarm has one thread */
export async function benchSwarm({ processes, hidden }: SwarmCase, threads: number) {
  const counts = countsOf(hidden)
  const steps = counts.warmUp + counts.measured
  const settings = {
    steps: String(steps),
    stages: String(processes - 1),
    hidden: String(hidden),
    evaluateEvery: String(10 * steps),
    // A policy without copies, since the one process keeps none. docs/STRATEGIES.md has the cost of each strategy.
    policy: 'checkfree,copy,random',
  }
  const run = await newRun(settings, undefined, process.cwd())
  // One process before and after the swarm, so that a change of the machine's speed affects both.
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

/** Measures one process without a network, the reference of the swarms. */
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

/**
 * Bytes of the activations and gradients of a microbatch: one of each for every hop from the ends through all body stages and
 * back.
 */
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
