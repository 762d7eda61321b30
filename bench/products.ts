/**
 * Programs for the ceiling of a graph on this machine: each matrix product as a program of its own, and a pass over as many
 * elements for each other operator.
 */
import { Graph, liveNodes, type Node, type Value } from '../stages/graph.ts'
import { encodeModel } from '../stages/onnx.ts'
import { Random } from '../stages/random.ts'
import { createSession, type SessionOptions, type Tensors, tensor } from '../stages/session.ts'
import { sizeOf } from '../stages/shape.ts'
import { sharedFloats } from '../stages/stage.ts'

/** A compiled program to time. One call computes its operator `repeats` times. */
export interface Program {
  readonly repeats: number
  run(): Promise<void>
  release(): Promise<void>
}

/** A product with fewer operations is repeated within one program, so that the start of the program does not count. */
const LEAST_FLOPS = 2e8
const MOST_REPEATS = 16

/** Number of additions in a program: enough that the start of the program does not count. */
const PASSES = 16

const random = new Random('bench')

export function filled(length: number) {
  return sharedFloats(length).map(() => random.gaussian() * 0.05)
}

function operand({ shape }: Pick<Value, 'shape'>) {
  return tensor(filled(sizeOf(shape)), shape)
}

function isProduct({ op }: Node): boolean {
  return op === 'Gemm' || op === 'FusedMatMul'
}

/** Floating-point operations of a matrix product; a multiplication and its addition count two. */
function flopsOf({ inputs, outputs, attributes }: Node): number {
  const depth = inputs[0]!.shape.at(attributes.transA ? -2 : -1)!
  return 2 * sizeOf(outputs[0]!.shape) * depth
}

/** Floating-point operations of the graph's matrix products. Attention counts full squares where the graph computes them. */
export function productFlops(graph: Graph): number {
  return liveNodes(graph)
    .filter(isProduct)
    .reduce((sum, node) => sum + flopsOf(node), 0)
}

/** Elements that the graph's other operators compute. Reshape is left out, since ONNX Runtime moves nothing for it. */
export function passElements(graph: Graph): number {
  return liveNodes(graph)
    .filter((node) => !isProduct(node) && node.op !== 'Reshape')
    .flatMap(({ outputs }) => outputs)
    .reduce((sum, { shape }) => sum + sizeOf(shape), 0)
}

async function program(
  graph: Graph,
  feeds: Tensors,
  outputs: Tensors,
  repeats: number,
  options: SessionOptions,
): Promise<Program> {
  const session = await createSession(encodeModel(graph), options)
  return {
    repeats,
    run: () => session.runInto(feeds, outputs),
    release: () => session.release(),
  }
}

/**
 * A matrix product alone, several times in one program. The first operands are distinct inputs over the same memory:
 * ONNX Runtime would compute products of equal inputs once.
 */
function productProgram(node: Node, options: SessionOptions): Promise<Program> {
  const graph = new Graph()
  const [a, b] = node.inputs as [Value, Value]
  const repeats = Math.min(MOST_REPEATS, Math.max(1, Math.ceil(LEAST_FLOPS / flopsOf(node))))
  const [first, second, result] = [operand(a), operand(b), operand(node.outputs[0]!)]
  const feeds: Record<string, Tensors[string]> = { b: second }
  const outputs: Record<string, Tensors[string]> = {}
  const shared = graph.float('b', b.shape)
  for (let i = 0; i < repeats; i++) {
    const own = graph.float(`a${i}`, a.shape)
    graph.output(`c${i}`, graph.add(node.op, [own, shared], node.attributes))
    feeds[`a${i}`] = first
    outputs[`c${i}`] = result
  }
  return program(graph, feeds, outputs, repeats, options)
}

/** The product of two square matrices, `size` rows each. */
export function squareProgram(size: number, options: SessionOptions): Promise<Program> {
  const graph = new Graph()
  const shape = [size, size]
  graph.output('c', graph.add('Gemm', [graph.float('a', shape), graph.float('b', shape)]))
  const feeds = { a: operand({ shape }), b: operand({ shape }) }
  return program(graph, feeds, { c: operand({ shape }) }, 1, options)
}

/** Additions of two tensors of `length` elements: what one pass of an elementwise operator costs at least. */
export function passProgram(length: number, options: SessionOptions): Promise<Program> {
  const graph = new Graph()
  const shape = [length]
  const [x, y] = [graph.float('x', shape), graph.float('y', shape)]
  let sum = x
  for (let i = 0; i < PASSES; i++) sum = graph.add('Add', [sum, y])
  graph.output('sum', sum)
  const feeds = { x: operand({ shape }), y: operand({ shape }) }
  return program(graph, feeds, { sum: operand({ shape }) }, PASSES, options)
}

/** One addition of two tensors so large that it moves `bytes` in all: two operands read, one result written. */
export function streamProgram(bytes: number, options: SessionOptions): Promise<Program> {
  const graph = new Graph()
  const shape = [Math.ceil(bytes / (3 * Float32Array.BYTES_PER_ELEMENT))]
  graph.output('c', graph.add('Add', [graph.float('a', shape), graph.float('b', shape)]))
  const feeds = { a: operand({ shape }), b: operand({ shape }) }
  return program(graph, feeds, { c: operand({ shape }) }, 1, options)
}

/** A program of the same inputs as `graph` that computes one element: what a run costs before its first operator. */
export function emptyProgram({ inputs }: Graph, options: SessionOptions): Promise<Program> {
  const graph = new Graph()
  for (const { name, dtype, shape } of inputs) graph.input(name, dtype, shape)
  graph.output('y', graph.add('Neg', [graph.float('x', [1])]))
  const x = tensor(new Float32Array(1), [1])
  const feeds = Object.fromEntries(
    inputs.map(({ name, shape }) => [name, tensor(new Float32Array(sizeOf(shape)), shape)]),
  )
  return program(graph, { ...feeds, x }, { y: tensor(new Float32Array(1), [1]) }, 1, options)
}

/**
 * Programs of the distinct matrix products of some graphs.
 * @param graphs each with the number of its runs
 * @returns the programs by name, and how often the graphs compute each product in all
 */
export async function productPrograms(
  graphs: readonly (readonly [graph: Graph, runs: number])[],
  options: SessionOptions,
) {
  const counts: Record<string, number> = {}
  const programs: Record<string, Program> = {}
  for (const [graph, runs] of graphs) {
    for (const node of liveNodes(graph).filter(isProduct)) {
      // A third operand is left out: adding it is not part of the product, and costs next to nothing.
      const shapes = node.inputs.slice(0, 2).map(({ shape }) => `[${shape}]`)
      const { transA, transB } = node.attributes
      const key = `${node.op} ${shapes.join(' ')} ${transA} ${transB}`
      programs[key] ??= await productProgram(node, options)
      counts[key] = (counts[key] ?? 0) + runs
    }
  }
  return { programs, counts }
}
