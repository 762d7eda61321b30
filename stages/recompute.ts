/** Segments of a graph whose values backward computes again (gradient checkpointing, Chen et al. 2016). */
import { type Graph, type Node, type Segment, type Value, varyingWith } from './graph.ts'
import { zeroAfter } from './order.ts'

/** Runs of consecutive nodes with the same segment or none, last run first. */
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
 * Adds the nodes of a segment a second time, for differentiation. The gradient of the segment's last value becomes that of the
 * new nodes. ONNX Runtime merges equal nodes. The new nodes therefore read the anchors with a zero added. The zero depends on
 * that gradient, and on the result of the segment `before` this one.
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
