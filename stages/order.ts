/**
 * Makes a node wait for values that it does not use. ONNX Runtime runs every ready node in its own order, whatever memory that
 * takes, and waits for data alone. An operand therefore gets a zero added that depends on the size of the earlier value. ONNX
 * Runtime does not fold that size to a constant.
 */
import type { Graph, Value } from './graph.ts'
import { FLOAT32 } from './ops/shapes.ts'

/** A zero [] that is computed after all of these values. */
export function zeroAfter(graph: Graph, values: readonly Value[]): Value {
  const sizes = values.map((value) => graph.add('Size', [value]))
  const [first, ...others] = sizes as [Value, ...Value[]]
  const sum = others.reduce((total, each) => graph.add('Add', [total, each]), first)
  return graph.add('Mul', [graph.add('Cast', [sum], { to: FLOAT32 }), graph.scalar(0)])
}
