/** A graph of ONNX operators with static shapes, checked as it is built. */
import type { Operator } from './ops/operator.ts'
import { type Op, operators } from './ops.ts'
import { type DType, ShapeError, show, type Type } from './shape.ts'

export type ConstantData = Float32Array | Int32Array | BigInt64Array

export interface Value extends Type {
  readonly name: string
  /** Node that computes the value; undefined for inputs and constants. */
  readonly node: Node | undefined
  /** The contents of a constant. */
  readonly data: ConstantData | undefined
}

export type Attributes = Readonly<Record<string, number | string | readonly number[]>>

export interface Node {
  readonly name: string
  readonly op: Op
  readonly inputs: readonly Value[]
  readonly outputs: readonly Value[]
  readonly attributes: Attributes
  /** Segment that is computed again for the gradient; undefined if the outputs are kept. */
  readonly segment: Segment | undefined
}

/**
 * Adds the nodes that compute one value from the anchors. All large values of these nodes depend on the anchors.
 * @param again true for the second computation, for the gradient. ONNX Runtime plans that a value reuses the memory of a dead
 *   value of the same shape, and keeps the memory until then. Large values therefore need another shape the second time.
 */
export type Build = (anchors: readonly Value[], again: boolean) => Value

/** Consecutive nodes whose values are not kept for the gradient. Backward computes the values again. */
export interface Segment {
  readonly anchors: readonly Value[]
  readonly build: Build
}

export interface Output {
  readonly name: string
  readonly value: Value
  /** Input whose memory the output overwrites (see aliasing.ts); undefined for memory of its own. */
  readonly inPlaceOf: Value | undefined
}

/** Constants with more elements are not compared: each is created once, and a comparison takes long. */
const TABLE = 1024

export class Graph {
  /** In the order they were added, which is topological. */
  readonly nodes: Node[] = []
  readonly inputs: Value[] = []
  readonly outputs: Output[] = []
  readonly constants: Value[] = []
  readonly #constantsByContent = new Map<string, Value>()
  #scope = ''
  #segment: Segment | undefined

  input(name: string, dtype: DType, shape: readonly number[]): Value {
    const value = { name, dtype, shape, node: undefined, data: undefined }
    this.inputs.push(value)
    return value
  }

  float(name: string, shape: readonly number[]): Value {
    return this.input(name, 'float32', shape)
  }

  output(name: string, value: Value, inPlaceOf?: Value): void {
    if (value.node === undefined || this.outputs.some((output) => output.value === value)) {
      throw new Error(`output ${name} must be a computed value that is not yet an output`)
    }
    this.outputs.push({ name, value, inPlaceOf })
  }

  /** A constant. Equal constants share a value, unless they have more than TABLE elements. */
  constant(shape: readonly number[], data: ConstantData): Value {
    const dtype = dtypeOf(data)
    const content = data.length > TABLE ? `table ${this.constants.length}` : data.join()
    const key = `${dtype}[${shape}]${content}`
    const known = this.#constantsByContent.get(key)
    if (known !== undefined) return known
    const name = `constant_${this.constants.length}`
    const value = { name, dtype, shape, node: undefined, data }
    this.#constantsByContent.set(key, value)
    this.constants.push(value)
    return value
  }

  scalar(number: number): Value {
    return this.constant([], Float32Array.of(number))
  }

  /** A list of int64, the type of shapes, sizes and axes in ONNX. */
  integers(numbers: readonly number[]): Value {
    return this.constant([numbers.length], BigInt64Array.from(numbers, BigInt))
  }

  /** The first output of a new node. */
  add(op: Op, inputs: readonly Value[], attributes: Attributes = {}): Value {
    return this.addAll(op, inputs, attributes)[0]!
  }

  /** All outputs of a new node. */
  addAll(op: Op, inputs: readonly Value[], attributes: Attributes = {}): readonly Value[] {
    const name = `${this.#scope}${op}_${this.nodes.length}`
    if (!Object.hasOwn(operators, op)) throw new Error(`${name}: there is no operator ${op}`)
    const types = this.#infer(name, op, inputs, attributes)
    const outputs: Value[] = []
    const node = { name, op, inputs, outputs, attributes, segment: this.#segment }
    for (const [i, type] of types.entries()) {
      outputs.push({ ...type, name: `${name}:${i}`, node, data: undefined })
    }
    this.nodes.push(node)
    return outputs
  }

  /** Prefixes the names of the nodes that `build` adds, for errors and profiles. */
  scope<T>(name: string, build: () => T): T {
    const outer = this.#scope
    this.#scope = `${outer}${name}/`
    try {
      return build()
    } finally {
      this.#scope = outer
    }
  }

  /** Makes the nodes that `build` adds a segment. Segments do not nest. */
  recomputed(anchors: readonly Value[], build: Build): Value {
    this.#segment = { anchors, build }
    try {
      return build(anchors, false)
    } finally {
      this.#segment = undefined
    }
  }

  #infer(name: string, op: Op, inputs: readonly Value[], attributes: Attributes): Type[] {
    try {
      return operators[op].infer(inputs, attributes)
    } catch (error) {
      if (!(error instanceof ShapeError)) throw error
      const shapes = inputs.map(show).join(', ')
      throw new ShapeError(`${name}: ${op} of ${shapes}: ${error.message}`)
    }
  }
}

/** Adds to `values` all values that the nodes compute from them, except values that depend on shapes alone. */
export function varyingWith(nodes: readonly Node[], values: Set<Value>): Set<Value> {
  for (const node of nodes) {
    const { shapesOnly }: Operator = operators[node.op]
    if (shapesOnly || !node.inputs.some((input) => values.has(input))) continue
    for (const output of node.outputs) values.add(output)
  }
  return values
}

/** Nodes that an output depends on, in order. Gradient rules also add nodes that no output needs. */
export function liveNodes(graph: Graph): Node[] {
  const live = new Set(graph.outputs.map((output) => output.value.node))
  for (const node of graph.nodes.toReversed()) {
    if (live.has(node)) for (const input of node.inputs) live.add(input.node)
  }
  return graph.nodes.filter((node) => live.has(node))
}

function dtypeOf(data: ConstantData): DType {
  if (data instanceof Float32Array) return 'float32'
  return data instanceof Int32Array ? 'int32' : 'int64'
}
