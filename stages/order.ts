/**
 * How a node is made to wait for values that it does not need. ONNX Runtime runs what is ready in an order of its own,
 * however much memory that takes; only data keep it waiting. So an operand gets a zero added that is made from the size
 * of what must come first: a number that ONNX Runtime does not look up before it gets there.
 */
import type { Graph, Value } from './graph.ts'
import { FLOAT32 } from './ops/shapes.ts'

/** A zero that is known when all of these are: []. */
export function zeroAfter(graph: Graph, values: readonly Value[]): Value {
  const sizes = values.map((value) => graph.add('Size', [value]))
  const [first, ...others] = sizes as [Value, ...Value[]]
  const sum = others.reduce((total, each) => graph.add('Add', [total, each]), first)
  return graph.add('Mul', [graph.add('Cast', [sum], { to: FLOAT32 }), graph.scalar(0)])
}
