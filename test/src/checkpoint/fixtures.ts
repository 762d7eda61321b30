/** Training in one process with saving and loading, and stores that count bytes or fail. */
import { createHash } from 'node:crypto'
import { createSingleProcess, type SingleProcess } from '../../../bench/single-process.ts'
import { loadStage } from '../../../src/checkpoint/load.ts'
import type { Manifest } from '../../../src/checkpoint/manifest.ts'
import { commitStep, saveStage } from '../../../src/checkpoint/save.ts'
import type { Store } from '../../../src/checkpoint/store.ts'
import { type Run, stageConfig } from '../../../src/run/run.ts'
import { layoutOf } from '../../../stages/parameters.ts'
import type { AnyStage } from '../../../stages/stage.ts'
import { tinyCorpus, tinyRun } from '../../fixtures/swarm.ts'

/** A narrow Llama. Gradients are not clipped, since clipping depends on the stages. */
export function thinRun(layers: number, stages: number, overrides: Partial<Run> = {}): Run {
  const base = tinyRun()
  return {
    ...base,
    stages,
    microbatches: 1,
    steps: 200,
    model: { ...base.model, layers, hiddenSize: 8, intermediateSize: 16 },
    microbatch: { batch: 2, context: 8 },
    optimizer: { ...base.optimizer, learningRate: 1e-3, clipNorm: 1e9 },
    ...overrides,
  }
}

export function processOf(run: Run): Promise<SingleProcess> {
  return createSingleProcess(run, tinyCorpus(), 1)
}

interface Counts {
  read: number
  written: number
}

/** A store that counts the bytes that are read and written, without manifests and parts. */
function counting(store: Store): { store: Store; counts: Counts } {
  const counts = { read: 0, written: 0 }
  const isData = (name: string) => name.endsWith('.bin')
  return {
    counts,
    store: {
      location: store.location,
      list: (prefix) => store.list(prefix),
      remove: (name) => store.remove(name),
      async read(name, offset, into) {
        await store.read(name, offset, into)
        if (isData(name)) counts.read += into.length
      },
      async write(name, content) {
        await store.write(name, content)
        if (isData(name)) counts.written += content.reduce((sum, { length }) => sum + length, 0)
      },
    },
  }
}

/** Saves the state like the holders of all stages. @returns bytes that each holder has written: [stage][replica] */
export async function saveProcess(
  store: Store,
  run: Run,
  { ends, body }: SingleProcess,
  step: number,
  replicas: number,
): Promise<{ manifest: Manifest; uploads: number[][] }> {
  const uploads: number[][] = []
  for (const [stage, held] of [ends, ...body].entries()) {
    uploads.push([])
    for (let replica = 0; replica < replicas; replica++) {
      const { store: counted, counts } = counting(store)
      const { parameters, weights, moments } = held
      const { updates } = await held.optimizerState()
      const part = { run, step, stage, replica, replicas, parameters }
      const fields = { updates, learningRateScale: 1, gradientNorm: 1 + stage }
      await saveStage(counted, { ...part, tensors: { weights, ...moments }, fields })
      uploads[stage]!.push(counts.written)
    }
  }
  const counts = Array<number>(run.stages + 1).fill(replicas)
  return { manifest: await commitStep(store, { run, step, replicas: counts }), uploads }
}

/** Loads a checkpoint into another number of stages. @returns bytes that each stage has read */
export async function loadProcess(
  store: Store,
  manifest: Manifest,
  run: Run,
): Promise<{ process: SingleProcess; downloads: number[] }> {
  const process = await processOf(run)
  const downloads: number[] = []
  for (const [stage, held] of [process.ends, ...process.body].entries()) {
    const { store: counted, counts } = counting(store)
    const loaded = await loadStage(counted, manifest, stageConfig(run), stage)
    await held.load(loaded.weights, loaded.optimizer)
    downloads.push(counts.read)
  }
  return { process, downloads }
}

/** SHA-256 of every weight and moment of a process, by name, from its buffers. */
export function hashesOf({ ends, body }: SingleProcess): Map<string, string> {
  const states: Record<string, (stage: AnyStage) => Float32Array> = {
    '': (stage) => stage.weights,
    'optimizer.first_moment.': (stage) => stage.moments.firstMoment,
    'optimizer.second_moment.': (stage) => stage.moments.secondMoment,
  }
  const hashes = new Map<string, string>()
  for (const stage of [ends, ...body]) {
    for (const [prefix, flatOf] of Object.entries(states)) {
      for (const { name, offset, length } of stage.parameters) {
        const bytes = Buffer.from(flatOf(stage).slice(offset, offset + length).buffer)
        hashes.set(prefix + name, createHash('sha256').update(bytes).digest('hex'))
      }
    }
  }
  return hashes
}

/** Size of a stage's weights and moments, in bytes. */
export function stageBytes(run: Run, stage: number): number {
  const { parameters } = layoutOf(stageConfig(run), stage)
  return 3 * 4 * parameters.reduce((sum, { length }) => sum + length, 0)
}
