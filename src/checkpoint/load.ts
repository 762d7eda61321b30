/** Loads a stage from a checkpoint, whatever number of stages saved it: only the boxes of its own tensors are read. */
import type { OptimizerConfig, StageConfig } from '../../stages/model.ts'
import { layoutOf } from '../../stages/parameters.ts'
import { sizeOf } from '../../stages/shape.ts'
import type { OptimizerState, Parameter } from '../../stages/stage.ts'
import type { TensorRule } from '../../stages/tensor-rules.ts'
import { CheckpointError } from './error.ts'
import { combineFields, momentScales, type Source } from './fields.ts'
import { type Place, placesOf, type StageTensors, scatter, statesOf } from './layout.ts'
import type { Manifest, StageFields } from './manifest.ts'
import type { Store } from './store.ts'
import { readTensor } from './tensor.ts'

/** The state of a stage: what `stage.load` takes, and the numbers that belong to it. */
export interface LoadedStage {
  /** Flat, in the layout of the stage. */
  readonly weights: Float32Array
  readonly optimizer: OptimizerState
  readonly learningRateScale: number
  readonly gradientNorm: number | null
}

/**
 * Loads a stage.
 * @param config the model and its number of stages, which may differ from the checkpoint's
 * @throws CheckpointError that names the tensor that is missing, damaged or of another shape
 */
export async function loadStage(
  store: Store,
  manifest: Manifest,
  config: StageConfig,
  stage: number,
  rules: readonly TensorRule[] = [],
): Promise<LoadedStage> {
  return loadLayout(store, manifest, config.optimizer, layoutOf(config, stage), rules)
}

/** Loads a stage whose parameters are given: where each lies in flat buffers of `length` elements. @throws CheckpointError */
export async function loadLayout(
  store: Store,
  manifest: Manifest,
  optimizer: OptimizerConfig,
  { parameters, length }: { readonly parameters: readonly Parameter[]; readonly length: number },
  rules: readonly TensorRule[] = [],
): Promise<LoadedStage> {
  const states = statesOf(optimizer)
  const room = (state: keyof StageTensors) => new Float32Array(states.includes(state) ? length : 0)
  const tensors: StageTensors = {
    weights: room('weights'),
    firstMoment: room('firstMoment'),
    secondMoment: room('secondMoment'),
  }
  const places = placesOf(parameters, rules, states)
  const fieldsOf = (name: string): StageFields => {
    const tensor = manifest.tensors[name]
    if (tensor !== undefined) return manifest.stages[tensor.stage]!
    throw new CheckpointError(`step ${manifest.step}: tensor ${name}: is not in the checkpoint`)
  }
  const fields = combineFields(sourcesOf(places, fieldsOf))
  for (const place of places) {
    const { name, shape, state } = place
    const scales = momentScales(optimizer, fieldsOf(name).updates, fields.updates)
    const scale = state === 'weights' ? 1 : scales[state]
    await scatter(tensors, place, async (flat) => {
      await readTensor(store, manifest, name, shape, flat)
      if (scale !== 1) for (let i = 0; i < flat.length; i++) flat[i]! *= scale
    })
  }
  const { firstMoment, secondMoment } = tensors
  const { updates, learningRateScale, gradientNorm } = fields
  return {
    weights: tensors.weights,
    optimizer: { firstMoment, secondMoment, updates },
    learningRateScale,
    gradientNorm,
  }
}

/** The saved stages that the weights come from, with the number of weights from each. */
function sourcesOf(places: readonly Place[], fieldsOf: (name: string) => StageFields): Source[] {
  const elements = new Map<StageFields, number>()
  for (const { state, name, shape } of places) {
    if (state !== 'weights') continue
    const fields = fieldsOf(name)
    elements.set(fields, (elements.get(fields) ?? 0) + sizeOf(shape))
  }
  return [...elements].map(([fields, elements]) => ({ fields, elements }))
}
