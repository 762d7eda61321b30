/**
 * Checks that an output may be written to the memory of an input. ONNX Runtime does not know that the two share memory, and
 * runs independent nodes in its own order. A graph is therefore refused unless
 * - the writer of the output depends on every other node that reads the input;
 * - a writer that reads the input reads each element before it writes that element (`mayOverwrite` in the table).
 */
import { type Graph, liveNodes, type Node, type Output, type Value } from './graph.ts'
import type { Operator } from './ops/operator.ts'
import { operators } from './ops.ts'
import { sizeOf } from './shape.ts'

/** Error for an output that would overwrite elements before another node has read them. */
export class AliasError extends Error {
  override readonly name = 'AliasError'
}

export function assertInPlaceOutputs(graph: Graph): void {
  const nodes = liveNodes(graph)
  const overwritten = new Set<Value>()
  for (const output of graph.outputs) {
    const { name, value, inPlaceOf: input } = output
    if (input === undefined) continue
    if (overwritten.has(input)) throw new AliasError(`${input.name} is overwritten twice`)
    overwritten.add(input)
    if (sizeOf(value.shape) !== sizeOf(input.shape) || value.dtype !== input.dtype) {
      throw new AliasError(`output ${name} does not have the size of ${input.name}`)
    }
    assertReadBeforeWritten(nodes, input, output)
  }
}

function assertReadBeforeWritten(nodes: readonly Node[], input: Value, output: Output): void {
  const writer = output.value.node!
  const before = ancestors(nodes, writer)
  const memory = views(nodes, input)
  for (const node of nodes) {
    if (node === writer) {
      const { mayOverwrite = [] }: Operator = operators[node.op]
      const positions = [...node.inputs.keys()].filter((i) => memory.has(node.inputs[i]!))
      const allowed = positions.every(
        (i) =>
          mayOverwrite.includes(i) && sizeOf(node.inputs[i]!.shape) === sizeOf(output.value.shape),
      )
      if (!allowed) {
        throw new AliasError(
          `${node.name} cannot write ${output.name} over ${input.name} as it reads it`,
        )
      }
    } else if (node.inputs.some((value) => memory.has(value)) && !before.has(node)) {
      throw new AliasError(
        `${node.name} may read ${input.name} after ${writer.name} has written ${output.name} over it`,
      )
    }
  }
}

/** The value and all values reshaped from it, which share its memory. */
function views(nodes: readonly Node[], value: Value): Set<Value> {
  const same = new Set([value])
  for (const node of nodes) {
    if (node.op === 'Reshape' && same.has(node.inputs[0]!)) same.add(node.outputs[0]!)
  }
  return same
}

function ancestors(nodes: readonly Node[], writer: Node): Set<Node> {
  const found = new Set([writer])
  for (const node of nodes.toReversed()) {
    if (found.has(node)) for (const { node: source } of node.inputs) if (source) found.add(source)
  }
  return found
}
