/** Simple float64 implementation of the operators, as the reference for ONNX Runtime and for the gradient rules. */
import {
  type Attributes,
  type Graph,
  liveNodes,
  type Node,
  type Value,
} from '../../stages/graph.ts'
import { FLOAT16 } from '../../stages/ops/shapes.ts'
import type { Op } from '../../stages/ops.ts'
import { sizeOf } from '../../stages/shape.ts'

export interface Tensor64 {
  readonly shape: readonly number[]
  readonly data: Float64Array
}

/** All values of a graph. @param feeds contents of the graph's inputs by name */
export function interpret(
  graph: Graph,
  feeds: Readonly<Record<string, ArrayLike<number>>>,
): ReadonlyMap<Value, Tensor64> {
  const values = new Map<Value, Tensor64>()
  for (const { name, shape } of graph.inputs) {
    values.set(find(graph.inputs, name), { shape, data: Float64Array.from(feeds[name]!) })
  }
  for (const constant of graph.constants) {
    values.set(constant, { shape: constant.shape, data: Float64Array.from(constant.data!, Number) })
  }
  for (const node of liveNodes(graph)) {
    const results = kernels[node.op](
      node.inputs.map((input) => values.get(input)!) as unknown as Operands,
      node.attributes,
      node,
    )
    for (const [i, data] of [results].flat().entries()) {
      const output = node.outputs[i]!
      values.set(output, { shape: output.shape, data })
    }
  }
  return values
}

function find(values: readonly Value[], name: string): Value {
  return values.find((value) => value.name === name)!
}

type Operands = readonly [Tensor64, Tensor64, Tensor64, ...Tensor64[]]

/** Computes the data of the outputs. The graph has their shapes. */
type Kernel = (
  inputs: Operands,
  attributes: Attributes,
  node: Node,
) => Float64Array | readonly Float64Array[]

/** Coordinates of the i-th element, last axis fastest. */
function coordinates(shape: readonly number[], i: number): number[] {
  const at: number[] = []
  let rest = i
  for (const dimension of shape.toReversed()) {
    at.unshift(rest % dimension)
    rest = Math.floor(rest / dimension)
  }
  return at
}

/** The element at coordinates of a wider shape that the tensor is broadcast to. */
function pick({ shape, data }: Tensor64, at: readonly number[]): number {
  return data[offset(shape, at.slice(at.length - shape.length))]!
}

function offset(shape: readonly number[], at: readonly number[]): number {
  return shape.reduce((sum, dimension, i) => sum * dimension + (dimension === 1 ? 0 : at[i]!), 0)
}

function generate(shape: readonly number[], element: (at: number[], i: number) => number) {
  return Float64Array.from({ length: sizeOf(shape) }, (_, i) => element(coordinates(shape, i), i))
}

const unary =
  (f: (x: number) => number): Kernel =>
  ([x]) =>
    x.data.map(f)

const binary =
  (f: (a: number, b: number) => number): Kernel =>
  ([a, b], _, node) =>
    generate(node.outputs[0]!.shape, (at) => f(pick(a, at), pick(b, at)))

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

const product: Kernel = ([a, b, c], { alpha = 1, transA, transB }, node) => {
  const { shape } = node.outputs[0]!
  const depth = a.shape.at(transA ? -2 : -1)!
  return generate(shape, (at) => {
    const batch = at.slice(0, -2)
    const [m, n] = at.slice(-2) as [number, number]
    let sum = 0
    for (let k = 0; k < depth; k++) {
      const left = pick(a, [...batch, ...(transA ? [k, m] : [m, k])])
      sum += left * pick(b, [...batch, ...(transB ? [n, k] : [k, n])])
    }
    return Number(alpha) * sum + (c === undefined ? 0 : pick(c, at))
  })
}

/** Applies `f` to each row of the last axis. */
function byRow(x: Tensor64, f: (row: Float64Array) => Float64Array): Float64Array {
  const width = x.shape.at(-1)!
  const result = new Float64Array(x.data.length)
  for (let i = 0; i < result.length; i += width) {
    result.set(f(x.data.subarray(i, i + width)), i)
  }
  return result
}

function logSumExp(row: Float64Array): number {
  const max = Math.max(...row)
  return max + Math.log(row.reduce((sum, x) => sum + Math.exp(x - max), 0))
}

const reduce =
  (f: (x: number) => number): Kernel =>
  ([x], _, node) => {
    const { shape } = node.outputs[0]!
    const result = new Float64Array(sizeOf(shape))
    x.data.forEach((element, i) => {
      result[offset(shape, coordinates(x.shape, i))]! += f(element)
    })
    return result
  }

const copy: Kernel = ([x]) => x.data

/** Nearest half by the definition: 11 significant bits, units of at least 2^-24, ties to even. */
function nearestHalf(x: number): number {
  const unit = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), -14) - 10)
  const count = x / unit
  const below = Math.floor(count)
  const rest = count - below
  const up = rest > 0.5 || (rest === 0.5 && below % 2 !== 0)
  const nearest = (below + (up ? 1 : 0)) * unit
  return Math.abs(nearest) > 65_504 ? Math.sign(x) * Number.POSITIVE_INFINITY : nearest
}

const scatterElements: Kernel = ([data, indices, updates], { axis }) => {
  const result = data.data.slice()
  updates.data.forEach((update, i) => {
    const at = coordinates(indices.shape, i).with(Number(axis), indices.data[i]!)
    result[offset(data.shape, at)]! += update
  })
  return result
}

const kernels: Readonly<Record<Op, Kernel>> = {
  Add: binary((a, b) => a + b),
  Sub: binary((a, b) => a - b),
  Mul: binary((a, b) => a * b),
  Div: binary((a, b) => a / b),
  Neg: unary((x) => -x),
  Sqrt: unary(Math.sqrt),
  Exp: unary(Math.exp),
  Sigmoid: unary(sigmoid),
  QuickGelu: unary((x) => x * sigmoid(x)),
  Gemm: product,
  FusedMatMul: product,
  Softmax: ([x]) => byRow(x, (row) => row.map((element) => Math.exp(element - logSumExp(row)))),
  LogSoftmax: ([x]) => byRow(x, (row) => row.map((element) => element - logSumExp(row))),
  SimplifiedLayerNormalization: ([x, scale], { epsilon }) => {
    const width = scale.data.length
    const inverse = generate([x.shape[0]!], ([i]) => {
      const row = x.data.subarray(i! * width, (i! + 1) * width)
      return 1 / Math.sqrt(row.reduce((sum, e) => sum + e * e, 0) / width + Number(epsilon))
    })
    const y = generate(x.shape, ([i, j], at) => x.data[at]! * inverse[i!]! * scale.data[j!]!)
    return [y, inverse]
  },
  RotaryEmbedding: (inputs) => {
    const [x, position, cosine, sine] = inputs as readonly Tensor64[] as [
      Tensor64,
      Tensor64,
      Tensor64,
      Tensor64,
    ]
    const half = x.shape[3]! / 2
    return generate(x.shape, (at, i) => {
      const j = at[3]!
      const angle = [position.data[0]! + at[2]!, j % half]
      const partner = j < half ? -x.data[i + half]! : x.data[i - half]!
      return x.data[i]! * pick(cosine, angle) + partner * pick(sine, angle)
    })
  },
  ReduceSum: reduce((x) => x),
  ReduceSumSquare: reduce((x) => x * x),
  Reshape: copy,
  Cast: ([x], { to }) => (to === FLOAT16 ? x.data.map(nearestHalf) : x.data),
  Size: ([x]) => Float64Array.of(sizeOf(x.shape)),
  Transpose: ([x], { perm }, node) => {
    const order = perm as readonly number[]
    return generate(node.outputs[0]!.shape, (at) =>
      pick(
        x,
        order.map((_, axis) => at[order.indexOf(axis)]!),
      ),
    )
  },
  Expand: ([x], _, node) => generate(node.outputs[0]!.shape, (at) => pick(x, at)),
  Trilu: ([x, k]) =>
    generate(x.shape, (at, i) => (at.at(-1)! - at.at(-2)! >= k.data[0]! ? x.data[i]! : 0)),
  Split: ([x], { axis }, node) => {
    let start = 0
    return node.outputs.map(({ shape }) => {
      const from = start
      start += shape[Number(axis)]!
      return generate(shape, (at) => pick(x, at.with(Number(axis), at[Number(axis)]! + from)))
    })
  },
  Concat: (parts, { axis }, node) =>
    generate(node.outputs[0]!.shape, (at) => {
      let i = at[Number(axis)]!
      let part = 0
      while (i >= parts[part]!.shape[Number(axis)]!) i -= parts[part++]!.shape[Number(axis)]!
      return pick(parts[part]!, at.with(Number(axis), i))
    }),
  Gather: ([data, indices]) => {
    const width = sizeOf(data.shape.slice(1))
    return generate(
      [indices.data.length, width],
      ([i, j]) => data.data[indices.data[i!]! * width + j!]!,
    )
  },
  ScatterND: ([data, indices, updates]) => {
    const result = data.data.slice()
    const width = sizeOf(data.shape.slice(1))
    updates.data.forEach((update, i) => {
      result[indices.data[Math.floor(i / width)]! * width + (i % width)]! += update
    })
    return result
  },
  GatherElements: ([data, indices], { axis }) =>
    generate(indices.shape, (at, i) => pick(data, at.with(Number(axis), indices.data[i]!))),
  ScatterElements: scatterElements,
}
