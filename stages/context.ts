/** Shared parameters of the functions that add a Llama's nodes to a graph. */
import type { Graph, Value } from './graph.ts'
import type { MicrobatchShape, ModelConfig } from './model.ts'

/** Parameters of such a function besides its operands. */
export interface Context {
  readonly graph: Graph
  readonly model: ModelConfig
  readonly microbatch: MicrobatchShape
  /** Sizes of the chunks of queries, from `queryChunks`. */
  readonly queries: readonly number[]
  /** Sizes of the pieces of keys, from `keyPieces`. */
  readonly keys: readonly number[]
  /** Filled with the output of attention in each layer. */
  readonly attended: Value[]
  /** A weight by its name within the layer or stage: `mlp.up_proj.weight`. */
  readonly weight: (name: string) => Value
}

/** x W^T, plus `residual` at no cost. */
export function project(
  { graph, weight }: Context,
  x: Value,
  name: string,
  residual?: Value,
): Value {
  const operands = residual === undefined ? [x, weight(name)] : [x, weight(name), residual]
  return graph.add('Gemm', operands, { transB: 1 })
}
