/** A small step whose content follows from a formula, so that any process knows the expected content. */
import { loadStage } from '../../../src/checkpoint/load.ts'
import type { Manifest } from '../../../src/checkpoint/manifest.ts'
import { commitStep, saveStage } from '../../../src/checkpoint/save.ts'
import type { Store } from '../../../src/checkpoint/store.ts'
import { parseRun, stageConfig } from '../../../src/run/run.ts'
import { layoutOf } from '../../../stages/parameters.ts'

/** Two layers in two stages. The file has few imports, since each killed process loads it first. */
export const RUN = parseRun(
  {
    format: 'gensyn-run',
    version: 1,
    stages: 2,
    model: { layers: 2, hiddenSize: 8, intermediateSize: 16, heads: 2, keyValueHeads: 2 },
    data: { source: 'file:text', sha256: '0'.repeat(64), bytes: 4096 },
  },
  'the test',
)

function tensorsOf(step: number, stage: number) {
  const { length, parameters } = layoutOf(stageConfig(RUN), stage)
  const used = parameters.reduce((sum, parameter) => sum + parameter.length, 0)
  const flat = (state: number) => {
    const buffer = new Float32Array(length)
    for (let i = 0; i < used; i++) buffer[i] = step + stage / 8 + state / 64 + (i % 1021) / 4096
    return buffer
  }
  return {
    parameters,
    tensors: { weights: flat(0), firstMoment: flat(1), secondMoment: flat(2) },
  }
}

/** Number of replicas of each stage. */
export async function saveSmallStep(store: Store, step: number, run = RUN): Promise<Manifest> {
  const fields = { updates: step, learningRateScale: 1, gradientNorm: step / 3 }
  for (let stage = 0; stage <= run.stages; stage++) {
    for (let replica = 0; replica < 2; replica++) {
      const part = { run, step, stage, replica, replicas: 2, fields, fileBytes: 2000 }
      await saveStage(store, { ...part, ...tensorsOf(step, stage) })
    }
  }
  return commitStep(store, { run, step, replicas: Array(run.stages + 1).fill(2) })
}

/** Tells whether every stage of the checkpoint has the expected content of the step, bit for bit. */
export async function holdsSmallStep(store: Store, manifest: Manifest): Promise<boolean> {
  for (let stage = 0; stage <= RUN.stages; stage++) {
    const loaded = await loadStage(store, manifest, stageConfig(RUN), stage)
    const { tensors } = tensorsOf(manifest.step, stage)
    const pairs = [
      [loaded.weights, tensors.weights],
      [loaded.optimizer.firstMoment, tensors.firstMoment],
      [loaded.optimizer.secondMoment, tensors.secondMoment],
    ] as const
    if (!pairs.every(([a, b]) => Buffer.from(a.buffer).equals(Buffer.from(b.buffer)))) return false
    if (loaded.optimizer.updates !== manifest.step) return false
  }
  return true
}
