/** Matrix products. Transposition is an attribute, so that products need no Transpose nodes. */
import type { Attributes, Value } from '../graph.ts'
import {
  broadcast,
  check,
  checkCount,
  checkShape,
  type GradientRule,
  type Operator,
} from './operator.ts'

type ProductOp = 'Gemm' | 'FusedMatMul'

const attributes = { alpha: 'float', transA: 'int', transB: 'int' } as const

/** Shape of a product: leading dimensions, rows and columns. */
function productShape(a: Value, b: Value, { transA, transB }: Attributes): number[] {
  const [m, k] = matrix(a, Boolean(transA))
  const [l, n] = matrix(b, Boolean(transB))
  check(k === l, `inner dimensions ${k} and ${l} differ`)
  const batch = a.shape.slice(0, -2)
  check(batch.join() === b.shape.slice(0, -2).join(), 'leading dimensions differ')
  return [...batch, m, n]
}

function matrix(value: Value, transposed: boolean): [number, number] {
  check(value.shape.length >= 2, `[${value.shape}] is not a matrix`)
  const [rows, columns] = value.shape.slice(-2) as [number, number]
  return transposed ? [columns, rows] : [rows, columns]
}

/** Gradient rule of Y = alpha op(A) op(B): products of the same operator, with transpositions that fit the shapes. */
function gradientBy(op: ProductOp): GradientRule {
  return ({ graph, inputs: [a, b], attributes, gradient: dy }) => {
    const alpha = attributes.alpha ?? 1
    const transA = Number(attributes.transA ?? 0)
    const transB = Number(attributes.transB ?? 0)
    const product = (left: Value, right: Value, transA: number, transB: number) =>
      graph.add(op, [left, right], { alpha, transA, transB })
    return [
      transA ? product(b, dy, transB, 1) : product(dy, b, 0, 1 - transB),
      transB ? product(dy, a, 1, transA) : product(a, dy, 1 - transA, 0),
    ]
  }
}

export const products: Readonly<Record<ProductOp, Operator>> = {
  /** alpha op(A) op(B) + C in two dimensions; C may be absent. */
  Gemm: {
    attributes,
    mayOverwrite: [2],
    infer: (inputs, attributes) => {
      checkCount(inputs, 2, 3)
      const [a, b, c] = inputs as [Value, Value, Value?]
      const shape = productShape(a, b, attributes)
      check(shape.length === 2, 'takes matrices only')
      if (c !== undefined) checkShape({ ...c, shape: broadcast(c.shape, shape) }, shape)
      return [{ dtype: a.dtype, shape }]
    },
    gradient: (backward) => [...gradientBy('Gemm')(backward), backward.gradient],
    accumulate: (graph, node, sum) =>
      node.inputs.length === 2
        ? graph.add('Gemm', [...node.inputs, sum], node.attributes)
        : undefined,
  },
  /** alpha op(A) op(B), matrix by matrix over equal leading dimensions. */
  FusedMatMul: {
    domain: 'com.microsoft',
    attributes,
    infer: (inputs, attributes) => {
      checkCount(inputs, 2)
      const [a, b] = inputs as [Value, Value]
      return [{ dtype: a.dtype, shape: productShape(a, b, attributes) }]
    },
    gradient: gradientBy('FusedMatMul'),
  },
}
