/** Segments of a graph whose values are computed again when their gradient arrives. */
import { type Graph, type Node, type Segment, type Value, varyingWith } from './graph.ts'
import { zeroAfter } from './order.ts'

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
 * The nodes of a segment once more, to be differentiated in their stead; the gradient of what the segment computes, its
 * last value, goes over to theirs. ONNX Runtime merges equal nodes, so these read the anchors with a zero added that it
 * gets only after that gradient, and after what the segment `before` this one has come to.
 */
export function recompute(
  graph: Graph,
  nodes: readonly Node[],
  { anchors, build }: Segment,
  varying: Set<Value>,
  known: Map<Value, Value>,
  before: readonly Value[],
): Node[] {
  const gradient = known.get(nodes.at(-1)!.outputs[0]!)
  if (gradient === undefined) return []
  const start = graph.nodes.length
  const zero = zeroAfter(graph, [gradient, ...before])
  const tied = anchors.map((anchor) => graph.add('Add', [anchor, zero]))
  known.set(build(tied, true), gradient)
  const again = graph.nodes.slice(start)
  varyingWith(again, varying)
  return again
}
