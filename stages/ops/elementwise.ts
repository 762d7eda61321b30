/** Operators on single elements. */
import type { Value } from '../graph.ts'
import { broadcast, check, checkCount, type Operator, sameType } from './operator.ts'

type ElementwiseOp =
  | 'Add'
  | 'Sub'
  | 'Mul'
  | 'Div'
  | 'Neg'
  | 'Sqrt'
  | 'Exp'
  | 'Sigmoid'
  | 'QuickGelu'

/** Shape rule of two operands that broadcast. */
const binary = {
  mayOverwrite: [0, 1],
  infer: (inputs: readonly Value[]) => {
    checkCount(inputs, 2)
    const [a, b] = inputs as [Value, Value]
    check(a.dtype === b.dtype, `dtypes ${a.dtype} and ${b.dtype} differ`)
    return [{ dtype: a.dtype, shape: broadcast(a.shape, b.shape) }]
  },
}

const unary = { mayOverwrite: [0], infer: sameType }

export const elementwise: Readonly<Record<ElementwiseOp, Operator>> = {
  Add: { ...binary, gradient: ({ gradient }) => [gradient, gradient] },
  Sub: {
    ...binary,
    gradient: ({ graph, gradient }) => [gradient, graph.add('Neg', [gradient])],
  },
  Mul: {
    ...binary,
    gradient: ({ graph, inputs: [a, b], gradient }) => [
      graph.add('Mul', [gradient, b]),
      graph.add('Mul', [gradient, a]),
    ],
  },
  Div: {
    ...binary,
    gradient: ({ graph, inputs: [, b], outputs: [y], gradient }) => {
      const numerator = graph.add('Div', [gradient, b])
      return [numerator, graph.add('Neg', [graph.add('Mul', [numerator, y])])]
    },
  },
  Neg: { ...unary, gradient: ({ graph, gradient }) => [graph.add('Neg', [gradient])] },
  Sqrt: {
    ...unary,
    gradient: ({ graph, outputs: [y], gradient }) => {
      const half = graph.add('Mul', [gradient, graph.scalar(0.5)])
      return [graph.add('Div', [half, y])]
    },
  },
  Exp: {
    ...unary,
    gradient: ({ graph, outputs: [y], gradient }) => [graph.add('Mul', [gradient, y])],
  },
  Sigmoid: {
    ...unary,
    gradient: ({ graph, outputs: [y], gradient }) => {
      const slope = graph.add('Mul', [y, graph.add('Sub', [graph.scalar(1), y])])
      return [graph.add('Mul', [gradient, slope])]
    },
  },
  /** x * sigmoid(alpha x), with alpha 1 alone, which is SiLU. The derivative is y + s (1 - y), with s = sigmoid(x). */
  QuickGelu: {
    ...unary,
    domain: 'com.microsoft',
    attributes: { alpha: 'float' },
    infer: (inputs, attributes) => {
      check(attributes.alpha === 1, 'only alpha 1, SiLU, has a gradient rule')
      return sameType(inputs)
    },
    gradient: ({ graph, inputs: [x], outputs: [y], gradient }) => {
      const rest = graph.add('Sub', [graph.scalar(1), y])
      const slope = graph.add('Add', [graph.add('Mul', [graph.add('Sigmoid', [x]), rest]), y])
      return [graph.add('Mul', [gradient, slope])]
    },
  },
}
