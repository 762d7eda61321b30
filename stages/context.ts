/** What the functions share that add a Llama's nodes to a graph. */
import type { Graph, Value } from './graph.ts'
import type { MicrobatchShape, ModelConfig } from './model.ts'

/** What a function needs beside its operands. */
export interface Context {
  readonly graph: Graph
  readonly model: ModelConfig
  readonly microbatch: MicrobatchShape
  /** Queries whose scores are computed at a time: queryChunks. */
  readonly queries: readonly number[]
  /** Keys that are taken together: keyPieces. */
  readonly keys: readonly number[]
  /** Takes note of the attention's output in each layer. */
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
