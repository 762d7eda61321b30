/** Graphs of one operator each, the test cases of the table. */
import type { Graph } from '../../stages/graph.ts'
import { FLOAT16, FLOAT32, INT64 } from '../../stages/ops/shapes.ts'
import type { Op } from '../../stages/ops.ts'
import type { GradientCase } from './gradient-check.ts'

type Attributes = Parameters<Graph['add']>[2]

function plain(op: Op, shapes: number[][], attributes: Attributes = {}): GradientCase {
  return { shapes, build: (graph, floats) => graph.addAll(op, floats, attributes) }
}

/** Float inputs followed by int64 constants. */
function withIntegers(
  op: Op,
  shapes: number[][],
  integers: number[],
  attributes: Attributes = {},
): GradientCase {
  return {
    shapes,
    build: (graph, floats) => graph.addAll(op, [...floats, graph.integers(integers)], attributes),
  }
}

/** Equal shapes, a scalar, a row, a column, and both sides broadcast. */
const BROADCASTS = [
  [
    [3, 4],
    [3, 4],
  ],
  [[3, 4], []],
  [[2, 3, 4], [4]],
  [
    [3, 1],
    [2, 3, 4],
  ],
  [
    [3, 1],
    [1, 4],
  ],
]

const binary = (op: Op) => BROADCASTS.map((shapes) => plain(op, shapes))
const positive = (cases: GradientCase[]) =>
  cases.map((one) => ({ ...one, positive: true as const }))
const unary = (op: Op, attributes?: Attributes) => [plain(op, [[3, 5]], attributes)]

/** A product [2, 3] x [3, 4] in each of the four ways to store its operands. */
function productCases(op: Op, batch: number[], addends: number[][] = []): GradientCase[] {
  return [0, 1].flatMap((transA) =>
    [0, 1].map((transB) =>
      plain(
        op,
        [
          [...batch, ...(transA ? [3, 2] : [2, 3])],
          [...batch, ...(transB ? [4, 3] : [3, 4])],
          ...addends,
        ],
        { alpha: 0.7, transA, transB },
      ),
    ),
  )
}

const INDICES = Int32Array.of(2, 0, 2, 4)
const ADD = { reduction: 'add' }

export const operatorCases: Readonly<Record<Op, readonly GradientCase[]>> = {
  Add: binary('Add'),
  Sub: binary('Sub'),
  Mul: [
    ...binary('Mul'),
    // A value with two uses.
    { shapes: [[3]], build: (graph, [x]) => graph.addAll('Mul', [x!, x!]) },
  ],
  Div: positive(binary('Div')),
  Neg: unary('Neg'),
  Sqrt: positive(unary('Sqrt')),
  Exp: unary('Exp'),
  Sigmoid: unary('Sigmoid'),
  QuickGelu: unary('QuickGelu', { alpha: 1 }),
  Gemm: [
    ...productCases('Gemm', []),
    ...productCases('Gemm', [], [[2, 4]]),
    ...productCases('Gemm', [], [[4]]),
    ...productCases('Gemm', [], [[2, 1]]),
  ],
  FusedMatMul: [...productCases('FusedMatMul', []), ...productCases('FusedMatMul', [2, 3])],
  Softmax: unary('Softmax', { axis: -1 }),
  LogSoftmax: unary('LogSoftmax', { axis: -1 }),
  SimplifiedLayerNormalization: [
    {
      shapes: [[4, 6], [6]],
      build: (graph, floats) => [
        graph.add('SimplifiedLayerNormalization', floats, { axis: -1, epsilon: 0.1 }),
      ],
    },
  ],
  RotaryEmbedding: [
    {
      shapes: [[2, 3, 5, 4]],
      build: (graph, [x]) => {
        const angles = Float32Array.from({ length: 10 }, (_, i) => 0.3 * i)
        const cosine = graph.constant([5, 2], angles.map(Math.cos))
        const sine = graph.constant([5, 2], angles.map(Math.sin))
        return graph.addAll('RotaryEmbedding', [x!, graph.integers([0]), cosine, sine])
      },
    },
  ],
  ReduceSum: [
    withIntegers('ReduceSum', [[2, 3, 4]], [-1], { keepdims: 1 }),
    withIntegers('ReduceSum', [[2, 3, 4]], [0, 2], { keepdims: 1 }),
  ],
  ReduceSumSquare: [withIntegers('ReduceSumSquare', [[2, 3]], [0], { keepdims: 1 })],
  Reshape: [withIntegers('Reshape', [[2, 6]], [3, 4])],
  Transpose: [
    plain('Transpose', [[2, 3, 4]], { perm: [1, 2, 0] }),
    plain('Transpose', [[2, 3, 4, 5]], { perm: [0, 2, 1, 3] }),
  ],
  Expand: [withIntegers('Expand', [[3, 1]], [2, 3, 4]), withIntegers('Expand', [[]], [2, 2])],
  Trilu: [
    {
      shapes: [[4, 4]],
      build: (graph, [x]) =>
        graph.addAll('Trilu', [x!, graph.constant([], BigInt64Array.of(1n))], { upper: 1 }),
    },
  ],
  Split: [
    withIntegers('Split', [[2, 6]], [1, 2, 3], { axis: 1 }),
    // A piece whose gradient is not needed.
    {
      shapes: [[5, 2]],
      build: (graph, [x]) => [graph.addAll('Split', [x!, graph.integers([2, 3])], { axis: 0 })[1]!],
    },
  ],
  Concat: [
    plain(
      'Concat',
      [
        [2, 1, 3],
        [2, 4, 3],
        [2, 2, 3],
      ],
      { axis: 1 },
    ),
  ],
  Size: [
    {
      shapes: [[2, 3]],
      build: (graph, [x]) => {
        const size = graph.add('Cast', [graph.add('Size', [x!])], { to: FLOAT32 })
        return [graph.add('Mul', [size, graph.add('Exp', [x!])])]
      },
    },
  ],
  Cast: [
    {
      shapes: [[5, 2]],
      build: (graph, [x]) => {
        const wide = graph.add('Cast', [graph.constant([4], INDICES)], { to: INT64 })
        return graph.addAll('Gather', [x!, wide])
      },
    },
    {
      shapes: [[5, 2]],
      build: (graph, [x]) => {
        const half = graph.add('Cast', [x!], { to: FLOAT16 })
        return graph.addAll('Cast', [half], { to: FLOAT32 })
      },
    },
  ],
  Gather: [
    {
      shapes: [[5, 2]],
      build: (graph, [x]) => graph.addAll('Gather', [x!, graph.constant([4], INDICES)]),
    },
  ],
  ScatterND: [
    {
      shapes: [
        [5, 2],
        [4, 2],
      ],
      build: (graph, [data, updates]) => {
        const rows = graph.constant([4, 1], BigInt64Array.from(INDICES, BigInt))
        return graph.addAll('ScatterND', [data!, rows, updates!], ADD)
      },
    },
  ],
  GatherElements: [
    {
      shapes: [[4, 5]],
      build: (graph, [x]) =>
        graph.addAll('GatherElements', [x!, graph.constant([4, 1], INDICES)], { axis: 1 }),
    },
  ],
  ScatterElements: [
    {
      shapes: [
        [4, 5],
        [4, 1],
      ],
      build: (graph, [data, updates]) => {
        const operands = [data!, graph.constant([4, 1], INDICES), updates!]
        return graph.addAll('ScatterElements', operands, { axis: 1, ...ADD })
      },
    },
  ],
}
