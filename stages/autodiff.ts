/** Reverse-mode differentiation: adds the gradient of a graph to the same graph. */
import { type Graph, type Node, type Value, varyingWith } from './graph.ts'
import type { Operands, Operator } from './ops/operator.ts'
import { operators } from './ops.ts'
import { recompute, runs } from './recompute.ts'
import { sameShape } from './shape.ts'

/** A value and the gradient of the loss with respect to it. */
export interface Incoming {
  readonly value: Value
  readonly gradient: Value
}

/**
 * Gradients of the loss with respect to `targets`, in the order of the targets.
 * @param sums by target: a value of the target's shape to which the gradient is added. The target must be an input. The
 *   addition becomes part of the last product if the operator can add.
 */
export function gradients(
  graph: Graph,
  incoming: readonly Incoming[],
  targets: readonly Value[],
  sums: ReadonlyMap<Value, Value> = new Map(),
): Value[] {
  const varying = varyingWith(graph.nodes, new Set(targets))
  const path = graph.nodes.filter(({ outputs }) => outputs.some((output) => varying.has(output)))
  const known = new Map(sums)
  for (const { value, gradient } of incoming) accumulate(graph, known, value, gradient)
  let before: readonly Value[] = []
  for (const { segment, nodes } of runs(path)) {
    if (segment === undefined) {
      walk(graph, nodes, varying, known)
      continue
    }
    const again = recompute(graph, nodes, segment, varying, known, before)
    walk(graph, again, varying, known)
    const inputs = new Set(nodes.flatMap((node) => node.inputs))
    before = [...inputs].flatMap((input) =>
      input.node?.segment === segment ? [] : (known.get(input) ?? []),
    )
  }
  return targets.map((target) => {
    const gradient = known.get(target)
    if (gradient === undefined || gradient === sums.get(target)) {
      throw new Error(`nothing differentiable leads from ${target.name} to the outputs`)
    }
    return gradient
  })
}

/** Propagates gradients from the outputs of the nodes to their inputs, last node first. */
function walk(
  graph: Graph,
  nodes: readonly Node[],
  varying: ReadonlySet<Value>,
  known: Map<Value, Value>,
): void {
  for (const node of nodes.toReversed()) {
    const outputGradients = node.outputs.map((output) => known.get(output))
    if (outputGradients.every((gradient) => gradient === undefined)) continue
    const before = graph.nodes.length
    const inputGradients = applyRule(graph, node, outputGradients)
    const fresh = new Set(graph.nodes.slice(before))
    for (const [i, input] of node.inputs.entries()) {
      const gradient = inputGradients[i]
      if (gradient === undefined || !varying.has(input)) continue
      accumulate(graph, known, input, sumTo(graph, gradient, input.shape), fresh)
    }
  }
}

function applyRule(
  graph: Graph,
  node: Node,
  gradientsOfOutputs: readonly (Value | undefined)[],
): readonly (Value | undefined)[] {
  const { gradient: rule }: Operator = operators[node.op]
  if (rule === undefined) throw new Error(`${node.name}: ${node.op} has no gradient rule`)
  return graph.scope(`${node.name}'`, () =>
    rule({
      graph,
      inputs: node.inputs as readonly Value[] as Operands,
      outputs: node.outputs as readonly Value[] as Operands,
      attributes: node.attributes,
      gradient: gradientsOfOutputs[0]!,
      gradients: gradientsOfOutputs,
    }),
  )
}

/**
 * Adds the gradients of all uses of a value. A gradient with no other reader (`fresh`) may be rebuilt with the sum so far as
 * Gemm's C. Rebuilding a shared gradient would compute the gradient twice.
 */
function accumulate(
  graph: Graph,
  known: Map<Value, Value>,
  value: Value,
  gradient: Value,
  fresh: ReadonlySet<Node> = new Set(),
): void {
  const sum = known.get(value)
  if (sum === undefined) {
    known.set(value, gradient)
    return
  }
  const { node } = gradient
  const operator: Operator | undefined = node && operators[node.op]
  const fused = node && fresh.has(node) ? operator?.accumulate?.(graph, node, sum) : undefined
  known.set(value, fused ?? graph.add('Add', [sum, gradient]))
}

/** Reverses broadcasting: sums a gradient to the shape of its operand. */
function sumTo(graph: Graph, gradient: Value, shape: readonly number[]): Value {
  if (sameShape(gradient.shape, shape)) return gradient
  const extra = gradient.shape.length - shape.length
  const axes = [...gradient.shape.keys()].filter(
    (axis) => axis < extra || shape[axis - extra] !== gradient.shape[axis],
  )
  const sum = graph.add('ReduceSum', [gradient, graph.integers(axes)], { keepdims: 1 })
  return extra === 0 ? sum : graph.add('Reshape', [sum, graph.integers(shape)])
}
