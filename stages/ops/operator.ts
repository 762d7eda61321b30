/** What the graph needs to know of an operator: one row of the table in ops.ts. */
import type { Attributes, Graph, Node, Value } from '../graph.ts'
import type { Type } from '../shape.ts'
import { ShapeError, sameShape } from '../shape.ts'

/** What a gradient rule sees of the node it differentiates. */
interface Backward {
  readonly graph: Graph
  /** As many as the shape rule has let through. */
  readonly inputs: Operands
  readonly outputs: Operands
  readonly attributes: Attributes
  /** Of the first output. */
  readonly gradient: Value
  /** Of each output; undefined where none arrives. */
  readonly gradients: readonly (Value | undefined)[]
}

/** The shape rule has counted them, so rules may name them without asking again. */
export type Operands = readonly [Value, Value, Value, ...Value[]]

/**
 * Builds the gradient of each input, in the order of the inputs; undefined where none flows (indices, shapes). A
 * gradient may have the wider shape that its input was broadcast to: autodiff.ts reduces it.
 */
export type GradientRule = (backward: Backward) => readonly (Value | undefined)[]

export interface Operator {
  readonly domain?: 'com.microsoft'
  /** How each attribute is written: a bare number could be either kind. */
  readonly attributes?: Readonly<Record<string, 'int' | 'float' | 'ints' | 'string'>>
  /** Types of the outputs; throws a ShapeError that says what does not fit. */
  readonly infer: (inputs: readonly Value[], attributes: Attributes) => Type[]
  /** What it gives depends on the shapes of its operands, and on no element of them. */
  readonly shapesOnly?: true
  /** Undefined for operators that only gradient and optimizer graphs use. */
  readonly gradient?: GradientRule
  /** Operands whose memory the kernel may write its output to: it reads each element before it writes it. */
  readonly mayOverwrite?: readonly number[]
  /** The same node with `sum` added to its output at no cost, or undefined if it has no room for that. */
  readonly accumulate?: (graph: Graph, node: Node, sum: Value) => Value | undefined
}

export function check(condition: boolean, reason: string): asserts condition {
  if (!condition) throw new ShapeError(reason)
}

export function checkCount(inputs: readonly Value[], least: number, most = least): void {
  const { length } = inputs
  check(length >= least && length <= most, `takes ${least}..${most} operands, not ${length}`)
}

/** The shape that numpy's rules give two operands. */
export function broadcast(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const m = a[i - rank + a.length] ?? 1
    const n = b[i - rank + b.length] ?? 1
    check(m === n || m === 1 || n === 1, `dimensions ${m} and ${n} do not broadcast`)
    return m === 1 ? n : m
  })
}

export function sameType(inputs: readonly Value[]): Type[] {
  checkCount(inputs, 1)
  return [{ dtype: inputs[0]!.dtype, shape: inputs[0]!.shape }]
}

/** The numbers in a constant operand: a shape, sizes, axes. */
export function constantIntegers(value: Value | undefined): number[] {
  check(value?.data !== undefined, 'takes a constant here')
  return Array.from(value.data, Number)
}

export function checkShape(value: Value, shape: readonly number[]): void {
  check(sameShape(value.shape, shape), `[${value.shape}] should be [${shape}]`)
}

/** What gradients are put into when only some elements get one. */
export function zeros(graph: Graph, shape: readonly number[]): Value {
  return graph.add('Expand', [graph.scalar(0), graph.integers(shape)])
}

export function isZeros({ node }: Value): boolean {
  return node?.op === 'Expand' && node.inputs[0]?.data?.every((element) => element === 0) === true
}

/** An axis counted from the front. */
export function axisOf(attributes: Attributes, rank: number): number {
  const axis = Number(attributes.axis ?? 0)
  check(axis >= -rank && axis < rank, `there is no axis ${axis}`)
  return axis < 0 ? axis + rank : axis
}
