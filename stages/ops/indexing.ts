/** Operators that read or write elements by index. */
import type { Attributes, Value } from '../graph.ts'
import { axisOf, check, checkCount, checkShape, isZeros, type Operator, zeros } from './operator.ts'
import { INT64 } from './shapes.ts'

type IndexingOp = 'Gather' | 'ScatterND' | 'GatherElements' | 'ScatterElements'

/** Updates of an element add to each other and to its old value. */
const ADD = { reduction: 'add' }

/** Operands: data, indices, updates. The output has the shape of the data. */
function scattered(inputs: readonly Value[], { reduction }: Attributes) {
  checkCount(inputs, 3)
  check(reduction === ADD.reduction, 'only adds')
  return [{ dtype: inputs[0]!.dtype, shape: inputs[0]!.shape }]
}

export const indexing: Readonly<Record<IndexingOp, Operator>> = {
  /** Rows of a table: data [V, H], indices [N] -> [N, H]. */
  Gather: {
    infer: (inputs) => {
      checkCount(inputs, 2)
      const [data, indices] = inputs as [Value, Value]
      check(data.shape.length > 0 && indices.dtype !== 'float32', 'takes rows by integer indices')
      return [{ dtype: data.dtype, shape: [...indices.shape, ...data.shape.slice(1)] }]
    },
    gradient: ({ graph, inputs: [data, indices], gradient }) => {
      const wide = graph.add('Cast', [indices], { to: INT64 })
      const tuples = graph.add('Reshape', [wide, graph.integers([...indices.shape, 1])])
      return [graph.add('ScatterND', [zeros(graph, data.shape), tuples, gradient], ADD), undefined]
    },
  },
  /** Adds rows to a table: data [V, H], indices [N, 1], updates [N, H]. */
  ScatterND: {
    attributes: { reduction: 'string' },
    mayOverwrite: [0],
    infer: (inputs, attributes) => {
      const [type] = scattered(inputs, attributes)
      const [data, indices, updates] = inputs as [Value, Value, Value]
      check(indices.dtype === 'int64' && indices.shape.at(-1) === 1, 'takes int64 indices [.., 1]')
      checkShape(updates, [...indices.shape.slice(0, -1), ...data.shape.slice(1)])
      return [type!]
    },
    /** Scatters into the sum instead of into zeros. */
    accumulate: (graph, node, sum) =>
      isZeros(node.inputs[0]!)
        ? graph.add('ScatterND', [sum, ...node.inputs.slice(1)], node.attributes)
        : undefined,
  },
  /** One element of each row: data [N, V], indices [N, 1] -> [N, 1], along axis 1. */
  GatherElements: {
    attributes: { axis: 'int' },
    infer: (inputs, attributes) => {
      checkCount(inputs, 2)
      const [data, indices] = inputs as [Value, Value]
      const axis = axisOf(attributes, data.shape.length)
      checkShape(indices, data.shape.with(axis, indices.shape[axis] ?? 0))
      return [{ dtype: data.dtype, shape: indices.shape }]
    },
    gradient: ({ graph, inputs: [data, indices], attributes, gradient }) => {
      const attributesOfScatter = { ...attributes, ...ADD }
      return [
        graph.add(
          'ScatterElements',
          [zeros(graph, data.shape), indices, gradient],
          attributesOfScatter,
        ),
        undefined,
      ]
    },
  },
  ScatterElements: {
    attributes: { axis: 'int', reduction: 'string' },
    mayOverwrite: [0],
    infer: (inputs, attributes) => {
      checkShape(inputs[2]!, inputs[1]!.shape)
      return scattered(inputs, attributes)
    },
  },
}
