/** Parameters of a stage: names, shapes, places in the flat buffer, and initial values. */

import { headSizeOf, layersOfStage, type ModelConfig, type StageConfig } from './model.ts'
import type { Random } from './random.ts'
import { sizeOf } from './shape.ts'
import type { Parameter } from './stage.ts'

/** Standard deviation of the initial weights, as in GPT-2 and Llama. */
const INITIAL_DEVIATION = 0.02

/** Largest chunk, in elements. Its weights, moments and gradient fit the second-level cache. */
const CHUNK_LENGTH = 1 << 18

/** Chunks have a multiple of this many elements, so that each begins on a cache line. */
const CHUNK_MULTIPLE = 16

/** Number of the ends, stage 0. */
export const ENDS = 0

export interface Layout {
  readonly parameters: readonly Parameter[]
  /** Length of the flat buffers in elements, a multiple of `chunk`. Elements after the last parameter stay zero. */
  readonly length: number
  /** Elements that one run of the optimizer updates. */
  readonly chunk: number
}

/** Everything that determines a layout. */
type Partition = Pick<StageConfig, 'model' | 'bodyStages'>

type Shapes = readonly (readonly [name: string, shape: readonly number[]])[]

/** Layout of a stage. The layouts of body stages differ in the layer numbers of the names alone. */
export function layoutOf(config: Partition, stage: number): Layout {
  const { model } = config
  const shapes =
    stage === ENDS
      ? endsShapes(model)
      : layersOfStage(config, stage).flatMap((layer) =>
          layerShapes(model).map(
            ([name, shape]) => [`model.layers.${layer}.${name}`, shape] as const,
          ),
        )
  const parameters: Parameter[] = []
  let offset = 0
  for (const [name, shape] of shapes) {
    const length = sizeOf(shape)
    parameters.push({ name, shape, offset, length })
    offset += length
  }
  const chunks = Math.ceil(offset / CHUNK_LENGTH)
  const chunk = Math.ceil(offset / chunks / CHUNK_MULTIPLE) * CHUNK_MULTIPLE
  return { parameters, length: chunks * chunk, chunk }
}

export const EMBEDDING = 'model.embed_tokens.weight'

/** Name of the head's table. A tied model uses the embedding's table. */
export function headName({ tiedEmbeddings }: ModelConfig): string {
  return tiedEmbeddings ? EMBEDDING : 'lm_head.weight'
}

function endsShapes(model: ModelConfig): Shapes {
  const { vocabSize, hiddenSize } = model
  const tables = [...new Set([EMBEDDING, headName(model)])]
  const [embedding, ...head] = tables.map((name) => [name, [vocabSize, hiddenSize]] as const)
  return [embedding!, ['model.norm.weight', [hiddenSize]], ...head]
}

/** One layer, in Hugging Face's names and layout: [out, in]. */
function layerShapes(model: ModelConfig): Shapes {
  const { hiddenSize, intermediateSize, heads, keyValueHeads } = model
  const headSize = headSizeOf(model)
  const [querySize, keyValueSize] = [headSize * heads, headSize * keyValueHeads]
  return [
    ['input_layernorm.weight', [hiddenSize]],
    ['self_attn.q_proj.weight', [querySize, hiddenSize]],
    ['self_attn.k_proj.weight', [keyValueSize, hiddenSize]],
    ['self_attn.v_proj.weight', [keyValueSize, hiddenSize]],
    ['self_attn.o_proj.weight', [hiddenSize, querySize]],
    ['post_attention_layernorm.weight', [hiddenSize]],
    ['mlp.gate_proj.weight', [intermediateSize, hiddenSize]],
    ['mlp.up_proj.weight', [intermediateSize, hiddenSize]],
    ['mlp.down_proj.weight', [hiddenSize, intermediateSize]],
  ]
}

/** All tensors of a model, in the order of its layers: embedding first, norm and head last. */
export function modelTensors(model: ModelConfig): Pick<Parameter, 'name' | 'shape'>[] {
  const whole = { model, bodyStages: 1 }
  const [first, ...last] = layoutOf(whole, ENDS).parameters
  const all = [first!, ...layoutOf(whole, 1).parameters, ...last]
  return all.map(({ name, shape }) => ({ name, shape }))
}

/** View of one parameter in a flat buffer. */
export function parameterView<T extends Float32Array>(
  flat: T,
  { offset, length }: Parameter,
): Float32Array<T['buffer']> {
  return flat.subarray(offset, offset + length)
}

/**
 * Fills flat weights: norms with 1, all other weights from N(0, 0.02), where 0.02 is the standard deviation. Each tensor has a
 * random stream with its name, so that every peer draws the same tensor for any division of the layers.
 */
export function initializeWeights(
  flat: Float32Array,
  { parameters }: Pick<Layout, 'parameters'>,
  random: Random,
): void {
  for (const parameter of parameters) {
    const view = parameterView(flat, parameter)
    if (parameter.shape.length === 1) {
      view.fill(1)
      continue
    }
    const stream = random.stream(parameter.name)
    for (let i = 0; i < view.length; i++) view[i] = INITIAL_DEVIATION * stream.gaussian()
  }
}
