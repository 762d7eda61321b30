/** Operators that move elements and compute nothing. */
import type { Value } from '../graph.ts'
import { type DType, sizeOf } from '../shape.ts'
import {
  axisOf,
  broadcast,
  check,
  checkCount,
  checkShape,
  constantIntegers,
  type Operator,
  zeros,
} from './operator.ts'

type ShapeOp = 'Reshape' | 'Transpose' | 'Expand' | 'Trilu' | 'Cast' | 'Size' | 'Split' | 'Concat'

/** Numbers of the types of Cast in ONNX. The indices of ScatterND must be int64. */
export const INT64 = 7
export const FLOAT32 = 1
export const FLOAT16 = 10

const CASTS: Readonly<Record<number, DType>> = {
  [INT64]: 'int64',
  [FLOAT32]: 'float32',
  [FLOAT16]: 'float16',
}

export const shapes: Readonly<Record<ShapeOp, Operator>> = {
  Reshape: {
    infer: (inputs) => {
      checkCount(inputs, 2)
      const [x, to] = inputs as [Value, Value]
      const shape = constantIntegers(to)
      check(sizeOf(shape) === sizeOf(x.shape), `cannot become [${shape}]`)
      return [{ dtype: x.dtype, shape }]
    },
    gradient: ({ graph, inputs: [x], gradient }) => [
      graph.add('Reshape', [gradient, graph.integers(x.shape)]),
    ],
  },
  Transpose: {
    attributes: { perm: 'ints' },
    infer: (inputs, { perm }) => {
      checkCount(inputs, 1)
      const x = inputs[0]!
      const order = perm as readonly number[]
      const axes = order.toSorted((a, b) => a - b).join()
      check(axes === [...x.shape.keys()].join(), `[${order}] does not permute its axes`)
      return [{ dtype: x.dtype, shape: order.map((axis) => x.shape[axis]!) }]
    },
    gradient: ({ graph, attributes, gradient }) => {
      const order = attributes.perm as readonly number[]
      const perm = order.map((_, axis) => order.indexOf(axis))
      return [graph.add('Transpose', [gradient], { perm })]
    },
  },
  Expand: {
    infer: (inputs) => {
      checkCount(inputs, 2)
      const [x, to] = inputs as [Value, Value]
      return [{ dtype: x.dtype, shape: broadcast(x.shape, constantIntegers(to)) }]
    },
    gradient: ({ gradient }) => [gradient],
  },
  /** With upper 1: keeps elements on or above the k-th diagonal, with zero elsewhere. */
  Trilu: {
    attributes: { upper: 'int' },
    infer: (inputs) => {
      checkCount(inputs, 2)
      return [{ dtype: inputs[0]!.dtype, shape: inputs[0]!.shape }]
    },
  },
  Cast: {
    attributes: { to: 'int' },
    infer: (inputs, { to }) => {
      checkCount(inputs, 1)
      const dtype = CASTS[Number(to)]
      check(dtype !== undefined, 'only casts to int64, float32 and float16')
      return [{ dtype, shape: inputs[0]!.shape }]
    },
  },
  /** Number of elements. ONNX Runtime does not fold it to a constant. */
  Size: {
    shapesOnly: true,
    infer: (inputs) => {
      checkCount(inputs, 1)
      return [{ dtype: 'int64', shape: [] }]
    },
  },
  /** Pieces along one axis, with the sizes in operand 1. */
  Split: {
    attributes: { axis: 'int' },
    infer: (inputs, attributes) => {
      checkCount(inputs, 2)
      const [x, into] = inputs as [Value, Value]
      const axis = axisOf(attributes, x.shape.length)
      const sizes = constantIntegers(into)
      const sum = sizes.reduce((a, b) => a + b, 0)
      check(sum === x.shape[axis], `pieces [${sizes}] do not make up ${x.shape[axis]}`)
      return sizes.map((size) => ({ dtype: x.dtype, shape: x.shape.with(axis, size) }))
    },
    gradient: ({ graph, outputs, attributes, gradients }) => [
      graph.add(
        'Concat',
        outputs.map(({ shape }, i) => gradients[i] ?? zeros(graph, shape)),
        attributes,
      ),
      undefined,
    ],
  },
  Concat: {
    attributes: { axis: 'int' },
    infer: (inputs, attributes) => {
      checkCount(inputs, 1, Number.POSITIVE_INFINITY)
      const [{ dtype, shape }] = inputs as [Value]
      const axis = axisOf(attributes, shape.length)
      for (const input of inputs) checkShape(input, shape.with(axis, input.shape[axis]!))
      const sum = inputs.reduce((total, input) => total + input.shape[axis]!, 0)
      return [{ dtype, shape: shape.with(axis, sum) }]
    },
    gradient: ({ graph, inputs, attributes, gradient }) => {
      const axis = axisOf(attributes, gradient.shape.length)
      const sizes = inputs.map(({ shape }) => shape[axis]!)
      return graph.addAll('Split', [gradient, graph.integers(sizes)], attributes)
    },
  },
}
