/** Segments of a graph whose values are computed again when their gradient arrives. */
import type { Graph, Node, Segment, Value } from './graph.ts'

/** Nodes in a row that belong to one segment, or to none; last ones first. */
export function runs(
  nodes: readonly Node[],
): { readonly segment: Segment | undefined; readonly nodes: readonly Node[] }[] {
  const found: { segment: Segment | undefined; nodes: Node[] }[] = []
  for (const node of nodes) {
    const last = found.at(-1)
    if (last !== undefined && last.segment === node.segment) last.nodes.push(node)
    else found.push({ segment: node.segment, nodes: [node] })
  }
  return found.toReversed()
}

/**
 * The nodes of a segment once more, to be differentiated in their stead; what is known of the originals' gradients goes
 * over to them. ONNX Runtime merges equal nodes and chooses their order, so the copies read the anchors with a zero
 * added that it gets only from the gradient that has arrived, and from what the segment `before` this one has come to.
 */
export function recompute(
  graph: Graph,
  nodes: readonly Node[],
  { anchors }: Segment,
  varying: Set<Value>,
  known: Map<Value, Value>,
  before: readonly Value[],
): Node[] {
  const arrived = nodes.flatMap(({ outputs }) => outputs.flatMap((value) => known.get(value) ?? []))
  const zero = zeroAfter(graph, [...arrived, ...before])
  const copies = new Map<Value, Value>()
  const start = graph.nodes.length
  for (const anchor of anchors) {
    const tied = graph.add('Add', [anchor, zero])
    copies.set(anchor, tied)
    if (varying.has(anchor)) varying.add(tied)
  }
  for (const { op, inputs, outputs, attributes } of nodes) {
    const operands = inputs.map((input) => copies.get(input) ?? input)
    for (const [i, copy] of graph.addAll(op, operands, attributes).entries()) {
      const original = outputs[i]!
      copies.set(original, copy)
      if (varying.has(original)) varying.add(copy)
      const gradient = known.get(original)
      if (gradient !== undefined) known.set(copy, gradient)
    }
  }
  return graph.nodes.slice(start)
}

/** A zero that is known when all of these are, []. Not a number if one of them is none: then all is lost anyway. */
function zeroAfter(graph: Graph, values: readonly Value[]): Value {
  const sums = values.map((value) => {
    const sum = graph.add('ReduceSum', [value, graph.integers([...value.shape.keys()])], {
      keepdims: 1,
    })
    return graph.add('Reshape', [sum, graph.integers([])])
  })
  const [first, ...others] = sums as [Value, ...Value[]]
  const sum = others.reduce((total, each) => graph.add('Add', [total, each]), first)
  return graph.add('Mul', [sum, graph.scalar(0)])
}
