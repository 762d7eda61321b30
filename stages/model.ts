/** Shape of a model and of its microbatches, and the division of the layers into stages. */

import type { Keep, KeepDtype } from './keep.ts'
import type { OptimizerKind } from './optimizer.ts'
import type { RopeScaling } from './rope.ts'

/** Shape of a Llama, with the terms of Hugging Face's config.json. */
export interface ModelConfig {
  readonly vocabSize: number
  readonly hiddenSize: number
  readonly intermediateSize: number
  readonly layers: number
  readonly heads: number
  /** Equal to `heads` for multi-head attention, a divisor of it for grouped-query attention. */
  readonly keyValueHeads: number
  /** Size of a head. Default, also for 0: hidden size divided by heads. */
  readonly headSize?: number
  readonly ropeTheta: number
  /** Default: no scaling. */
  readonly ropeScaling?: RopeScaling
  readonly rmsNormEps: number
  /** True if the head uses the embedding's table; default false. */
  readonly tiedEmbeddings?: boolean
}

export function headSizeOf({ headSize, hiddenSize, heads }: ModelConfig): number {
  return headSize || hiddenSize / heads
}

/** A microbatch: [batch, context] tokens. Graphs have static shapes, so this is fixed for a run. */
export interface MicrobatchShape {
  readonly batch: number
  readonly context: number
}

export interface OptimizerConfig {
  /** Default 'adamw'. */
  readonly kind?: OptimizerKind
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
  /** Decoupled decay, per unit of learning rate. */
  readonly weightDecay: number
}

/** Everything that determines the graphs of a stage. */
export interface StageConfig {
  readonly model: ModelConfig
  readonly microbatch: MicrobatchShape
  readonly optimizer: OptimizerConfig
  /** Number of body stages S; stage 0 is the ends, stages 1..S hold layers / S layers each. */
  readonly bodyStages: number
  /** Values that body stages keep between forward and backward, besides the input; default 'none'. */
  readonly keep?: Keep
  /** Storage type of kept values; default 'float32'. */
  readonly keepDtype?: KeepDtype
}

/** Layers (from 0) of body stage `stage` (from 1). All body stages have as many, since averaging needs equal shapes. */
export function layersOfStage(
  config: Pick<StageConfig, 'model' | 'bodyStages'>,
  stage: number,
): number[] {
  const each = config.model.layers / config.bodyStages
  if (!Number.isInteger(each)) {
    throw new RangeError(
      `${config.model.layers} layers cannot be dealt evenly to ${config.bodyStages} body stages`,
    )
  }
  if (!(stage >= 1 && stage <= config.bodyStages)) {
    throw new RangeError(`body stage ${stage} is not in 1..${config.bodyStages}`)
  }
  return Array.from({ length: each }, (_, i) => (stage - 1) * each + i)
}
