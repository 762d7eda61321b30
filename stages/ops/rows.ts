/** Operators on rows of the last axis, or on a whole axis. */
import type { Attributes, Value } from '../graph.ts'
import {
  check,
  checkCount,
  checkShape,
  constantIntegers,
  type Operator,
  sameType,
} from './operator.ts'

type RowOp =
  | 'Softmax'
  | 'LogSoftmax'
  | 'SimplifiedLayerNormalization'
  | 'RotaryEmbedding'
  | 'ReduceSum'
  | 'ReduceSumSquare'

const LAST = -1

/** Shape rule of softmax and similar operators, along the last axis alone. */
const alongLast = {
  attributes: { axis: 'int' } as const,
  infer: (inputs: readonly Value[], { axis }: Attributes) => {
    check(axis === LAST, 'works along the last axis only')
    return sameType(inputs)
  },
}

/** Shape rule of reductions over the axes in operand 1. Reduced axes stay with size 1, so that the result broadcasts. */
const reduction = {
  attributes: { keepdims: 'int' } as const,
  infer: (inputs: readonly Value[], { keepdims }: Attributes) => {
    checkCount(inputs, 2)
    check(keepdims === 1, 'keeps reduced dimensions')
    const [x, axes] = inputs as [Value, Value]
    const reduced = constantIntegers(axes).map((axis) => (axis < 0 ? axis + x.shape.length : axis))
    const shape = x.shape.map((dimension, axis) => (reduced.includes(axis) ? 1 : dimension))
    return [{ dtype: x.dtype, shape }]
  },
}

export const rows: Readonly<Record<RowOp, Operator>> = {
  Softmax: {
    ...alongLast,
    gradient: ({ graph, outputs: [y], gradient: dy }) => {
      const sum = graph.add('ReduceSum', [graph.add('Mul', [dy, y]), graph.integers([LAST])], {
        keepdims: 1,
      })
      return [graph.add('Mul', [graph.add('Sub', [dy, sum]), y])]
    },
  },
  LogSoftmax: {
    ...alongLast,
    gradient: ({ graph, outputs: [y], gradient: dy }) => {
      const sum = graph.add('ReduceSum', [dy, graph.integers([LAST])], { keepdims: 1 })
      return [graph.add('Sub', [dy, graph.add('Mul', [graph.add('Exp', [y]), sum])])]
    },
  },
  /**
   * RMSNorm (Zhang and Sennrich 2019, equation 4): y = x r g with r = (mean(x^2) + epsilon)^-1/2. Outputs y [N, H] and r [N,
   * 1]. ONNX's own RMSNormalization does not return r. A thin Gemm computes each of the two sums of the gradient from x dy.
   */
  SimplifiedLayerNormalization: {
    attributes: { axis: 'int', epsilon: 'float' },
    infer: (inputs, { axis }) => {
      checkCount(inputs, 2)
      check(axis === LAST, 'works along the last axis only')
      const [x, scale] = inputs as [Value, Value]
      check(x.shape.length === 2, 'takes rows of a matrix')
      const [rows, width] = x.shape as [number, number]
      checkShape(scale, [width])
      return [
        { dtype: x.dtype, shape: x.shape },
        { dtype: x.dtype, shape: [rows, 1] },
      ]
    },
    gradient: ({ graph, inputs: [x, scale], outputs: [, r], gradient: dy, gradients }) => {
      check(gradients[1] === undefined, 'its second output serves the gradient rule alone')
      const width = scale.shape[0]!
      const product = graph.add('Mul', [dy, x])
      const column = graph.add('Reshape', [scale, graph.integers([width, 1])])
      const mean = graph.add('Gemm', [product, column], { alpha: 1 / width })
      const back = graph.add('Mul', [mean, graph.add('Mul', [r, r])])
      const dx = graph.add('Sub', [graph.add('Mul', [dy, scale]), graph.add('Mul', [x, back])])
      const dScale = graph.add('Gemm', [r, product], { transA: 1 })
      return [
        graph.add('Mul', [dx, r]),
        graph.add('Reshape', [dScale, graph.integers(scale.shape)]),
      ]
    },
  },
  /**
   * Rotates the pairs (i, i + d/2) of each row by the angle of its position: x [B, heads, T, d], the first position [1],
   * cosines and sines [T, d/2]. The gradient rotates by the negated angle.
   */
  RotaryEmbedding: {
    domain: 'com.microsoft',
    infer: (inputs) => {
      checkCount(inputs, 4)
      const [x, position, cosine, sine] = inputs as [Value, Value, Value, Value]
      check(x.shape.length === 4, 'takes [batch, heads, context, head size]')
      const [, , context, size] = x.shape as [number, number, number, number]
      checkShape(position, [1])
      for (const table of [cosine, sine]) checkShape(table, [context, size / 2])
      return [{ dtype: x.dtype, shape: x.shape }]
    },
    gradient: ({ graph, inputs: [, position, cosine, sine], gradient }) => {
      const back = graph.add('Neg', [sine!])
      return [graph.add('RotaryEmbedding', [gradient, position, cosine, back])]
    },
  },
  ReduceSum: {
    ...reduction,
    gradient: ({ graph, inputs: [x], gradient }) => [
      graph.add('Expand', [gradient, graph.integers(x.shape)]),
    ],
  },
  ReduceSumSquare: {
    ...reduction,
    gradient: ({ graph, inputs: [x], gradient }) => [
      graph.add('Mul', [graph.add('Mul', [x, gradient]), graph.scalar(2)]),
    ],
  },
}
