/**
 * What a stage keeps of a microbatch between forward and backward, beside its input. A policy names values of the graph
 * that computes both; backward is that graph cut at them, forward gives them out.
 */
import { Graph, liveNodes, type Node, type Value } from './graph.ts'
import { FLOAT16, FLOAT32 } from './ops/shapes.ts'

/**
 * How kept values are stored. float16 takes half the memory and rounds to 2^-11 of each; what is beyond 65,504 becomes
 * infinite, and so do gradients, which the border refuses. Computing stays float32.
 */
export const KEEP_DTYPES = ['float32', 'float16'] as const
export type KeepDtype = (typeof KEEP_DTYPES)[number]

/** Prefix of the outputs of forward, and inputs of backward, that are kept. */
export const KEPT = 'kept.'

/** A graph that goes forward and back. */
export interface Whole {
  readonly graph: Graph
  /** The nodes that go forward are the first; as many. */
  readonly forward: number
  /** Output of the attention in each layer, before its projection. */
  readonly attended: readonly Value[]
}

const POLICIES = {
  /** Backward runs all of forward again. */
  none: (): readonly Value[] => [],
  /** Backward needs no mix of values again; of attention over some queries at a time it runs only what it differentiates. */
  attention: ({ attended }: Whole): readonly Value[] => attended,
  /** Nothing runs again but what is streamed. */
  all: readByBackward,
}

export type Keep = keyof typeof POLICIES

export const KEEPS = Object.keys(POLICIES) as Keep[]

/** The values that a policy keeps, each with its node's place in the graph. */
export function keptValues(keep: Keep, whole: Whole): readonly Value[] {
  return POLICIES[keep](whole)
}

/** What backward reads of forward, without what no input decides. */
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

/** Behind reshaped selves, which cost nothing to make again, what they are made of. */
function source(value: Value): Value {
  return value.node?.op === 'Reshape' ? source(value.node.inputs[0]!) : value
}

/** The value as it is stored, in the graph that makes it. */
export function stored(graph: Graph, value: Value, dtype: KeepDtype): Value {
  return dtype === 'float16' ? graph.add('Cast', [value], { to: FLOAT16 }) : value
}

/** The same graph with `values` as inputs, stored as `dtype`; what only they needed is gone. */
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

/** The nodes that the outputs depend on other than through `given`. */
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
