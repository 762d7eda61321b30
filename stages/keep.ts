/**
 * Values that a stage keeps of a microbatch between forward and backward, besides the input. A policy names values of the graph
 * that computes both directions. Forward outputs the kept values. Backward is the graph with the kept values as inputs.
 */
import { Graph, liveNodes, type Node, type Value } from './graph.ts'
import { FLOAT16, FLOAT32 } from './ops/shapes.ts'

/**
 * Storage of kept values. float16 takes half the memory, with a relative error of 2^-11. A value beyond 65,504 becomes
 * infinite, and so do its gradients, which the receiver refuses. All computation is in float32.
 */
export const KEEP_DTYPES = ['float32', 'float16'] as const
export type KeepDtype = (typeof KEEP_DTYPES)[number]

/** Prefix of the kept outputs of forward, and of the same inputs of backward. */
export const KEPT = 'kept.'

/** A graph of forward and backward. */
export interface Whole {
  readonly graph: Graph
  /** Number of nodes of forward, which come first. */
  readonly forward: number
  /** Output of attention in each layer, before the projection. */
  readonly attended: readonly Value[]
}

const POLICIES = {
  /** Keeps nothing. Backward computes all of forward again. */
  none: (): readonly Value[] => [],
  /** Keeps the outputs of attention. Backward computes no output of attention again. */
  attention: ({ attended }: Whole): readonly Value[] => attended,
  /** Keeps all that backward reads. Backward computes only streamed segments again. */
  all: readByBackward,
}

export type Keep = keyof typeof POLICIES

export const KEEPS = Object.keys(POLICIES) as Keep[]

/** The values that a policy keeps. */
export function keptValues(keep: Keep, whole: Whole): readonly Value[] {
  return POLICIES[keep](whole)
}

/** Values of forward that backward reads, except values that depend on no input. */
function readByBackward({ graph, forward }: Whole): readonly Value[] {
  const varying = new Set<Value>(graph.inputs)
  for (const node of graph.nodes) {
    if (!node.inputs.some((input) => varying.has(input))) continue
    for (const output of node.outputs) varying.add(output)
  }
  const before = new Set(graph.nodes.slice(0, forward))
  const read = liveNodes(graph)
    .filter((node) => !before.has(node))
    .flatMap((node) => node.inputs.map(source))
    .filter((value) => value.node !== undefined && before.has(value.node) && varying.has(value))
  return [...new Set(read)]
}

/** The value before all reshapes, which cost nothing to repeat. */
function source(value: Value): Value {
  return value.node?.op === 'Reshape' ? source(value.node.inputs[0]!) : value
}

/** Adds the conversion of a value to its stored type to the graph. */
export function stored(graph: Graph, value: Value, dtype: KeepDtype): Value {
  return dtype === 'float16' ? graph.add('Cast', [value], { to: FLOAT16 }) : value
}

/** A copy of the graph with `values` as inputs of type `dtype`, and without the nodes that only `values` needed. */
export function cut(graph: Graph, values: readonly Value[], dtype: KeepDtype): Graph {
  const result = new Graph()
  const copies = new Map<Value, Value>()
  for (const input of graph.inputs) {
    copies.set(input, result.input(input.name, input.dtype, input.shape))
  }
  for (const [i, value] of values.entries()) {
    const input = result.input(`${KEPT}${i}`, dtype, value.shape)
    copies.set(value, dtype === 'float16' ? result.add('Cast', [input], { to: FLOAT32 }) : input)
  }
  for (const value of graph.constants) {
    copies.set(value, result.constant(value.shape, value.data!))
  }
  const copyOf = (value: Value) => copies.get(value)!
  for (const { op, inputs, outputs, attributes } of needed(graph, new Set(values))) {
    const made = result.addAll(op, inputs.map(copyOf), attributes)
    for (const [i, output] of outputs.entries()) {
      if (!copies.has(output)) copies.set(output, made[i]!)
    }
  }
  for (const { name, value, inPlaceOf } of graph.outputs) {
    result.output(name, copyOf(value), inPlaceOf && copyOf(inPlaceOf))
  }
  return result
}

/** Nodes that the outputs depend on, if the values of `given` are inputs. */
function needed(graph: Graph, given: ReadonlySet<Value>): Node[] {
  const wanted = new Set<Value>(graph.outputs.map(({ value }) => value))
  const found: Node[] = []
  for (const node of graph.nodes.toReversed()) {
    if (!node.outputs.some((output) => wanted.has(output) && !given.has(output))) continue
    found.push(node)
    for (const input of node.inputs) wanted.add(input)
  }
  return found.toReversed()
}
