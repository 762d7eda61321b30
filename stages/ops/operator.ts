/** Description of an operator: a row of the table in ops.ts. */
import type { Attributes, Graph, Node, Value } from '../graph.ts'
import type { Type } from '../shape.ts'
import { ShapeError, sameShape } from '../shape.ts'

/** Arguments of a gradient rule, for the node that it differentiates. */
interface Backward {
  readonly graph: Graph
  /** Inputs of the node. The shape rule has checked their number. */
  readonly inputs: Operands
  readonly outputs: Operands
  readonly attributes: Attributes
  /** Gradient of the first output. */
  readonly gradient: Value
  /** Gradient of each output; undefined for an unused output. */
  readonly gradients: readonly (Value | undefined)[]
}

/** Operands of a node. The shape rule has checked their number, so that gradient rules need not. */
export type Operands = readonly [Value, Value, Value, ...Value[]]

/**
 * Builds the gradient of each input, in the order of the inputs; undefined for indices and shapes. A gradient may have the
 * shape that its input was broadcast to: autodiff.ts reduces it.
 */
export type GradientRule = (backward: Backward) => readonly (Value | undefined)[]

export interface Operator {
  readonly domain?: 'com.microsoft'
  /** Type of each attribute, since a number alone may be an int or a float. */
  readonly attributes?: Readonly<Record<string, 'int' | 'float' | 'ints' | 'string'>>
  /** Types of the outputs. @throws ShapeError if the operands do not fit */
  readonly infer: (inputs: readonly Value[], attributes: Attributes) => Type[]
  /** True if the output depends on the shapes of the operands alone. */
  readonly shapesOnly?: true
  /** Undefined for operators that only gradient and optimizer graphs use. */
  readonly gradient?: GradientRule
  /** Operands whose memory the output may overwrite: the kernel reads each element before it writes that element. */
  readonly mayOverwrite?: readonly number[]
  /** Adds the node again with `sum` added to its output at no cost. Undefined if the operator cannot add. */
  readonly accumulate?: (graph: Graph, node: Node, sum: Value) => Value | undefined
}

export function check(condition: boolean, reason: string): asserts condition {
  if (!condition) throw new ShapeError(reason)
}

export function checkCount(inputs: readonly Value[], least: number, most = least): void {
  const { length } = inputs
  check(length >= least && length <= most, `takes ${least}..${most} operands, not ${length}`)
}

/** Shape of two broadcast operands by the rules of numpy. */
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

/** Zeros, into which gradients of single elements are scattered. */
export function zeros(graph: Graph, shape: readonly number[]): Value {
  return graph.add('Expand', [graph.scalar(0), graph.integers(shape)])
}

export function isZeros({ node }: Value): boolean {
  return node?.op === 'Expand' && node.inputs[0]?.data?.every((element) => element === 0) === true
}

/** Axis of a node, counted from the front. */
export function axisOf(attributes: Attributes, rank: number): number {
  const axis = Number(attributes.axis ?? 0)
  check(axis >= -rank && axis < rank, `there is no axis ${axis}`)
  return axis < 0 ? axis + rank : axis
}
