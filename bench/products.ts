/** The matrix products of a graph, each as a program of its own: what a stage could at best come to. */
import { Graph, liveNodes, type Node } from '../stages/graph.ts'
import { encodeModel } from '../stages/onnx.ts'
import { Random } from '../stages/random.ts'
import { createSession, type SessionOptions, tensor } from '../stages/session.ts'
import { sizeOf } from '../stages/shape.ts'

interface Product {
  readonly node: Node
  /** How often the graph makes a product of this shape. */
  count: number
}

function isProduct({ op }: Node): boolean {
  return op === 'Gemm' || op === 'FusedMatMul'
}

/** Multiply-adds count two. */
function flopsOf({ inputs, outputs, attributes }: Node): number {
  const depth = inputs[0]!.shape.at(attributes.transA ? -2 : -1)!
  return 2 * sizeOf(outputs[0]!.shape) * depth
}

/** Of the products that the graph makes; attention as it is computed, full squares where the graph has them. */
export function productFlops(graph: Graph): number {
  return liveNodes(graph)
    .filter(isProduct)
    .reduce((sum, node) => sum + flopsOf(node), 0)
}

function distinctProducts(graph: Graph): ReadonlyMap<string, Product> {
  const products = new Map<string, Product>()
  for (const node of liveNodes(graph).filter(isProduct)) {
    // Without C: an addition is not part of the peak, and costs next to nothing.
    const shapes = node.inputs.slice(0, 2).map(({ shape }) => `[${shape}]`)
    const key = `${node.op} ${shapes.join(' ')} ${node.attributes.transA} ${node.attributes.transB}`
    const product = products.get(key) ?? { node, count: 0 }
    product.count++
    products.set(key, product)
  }
  return products
}

/** A product on its own, compiled, with operands of its own. */
async function productRun({ op, inputs, outputs, attributes }: Node, options: SessionOptions) {
  const graph = new Graph()
  const random = new Random('products')
  const [a, b] = inputs as [Node['inputs'][number], Node['inputs'][number]]
  const operands = [graph.float('a', a.shape), graph.float('b', b.shape)]
  graph.output('c', graph.add(op, operands, attributes))
  const filled = (shape: readonly number[]) =>
    tensor(
      new Float32Array(sizeOf(shape)).map(() => random.float() - 0.5),
      shape,
    )
  const session = await createSession(encodeModel(graph), options)
  const feeds = { a: filled(a.shape), b: filled(b.shape) }
  const c = tensor(new Float32Array(sizeOf(outputs[0]!.shape)), outputs[0]!.shape)
  return { run: () => session.runInto(feeds, { c }), release: () => session.release() }
}

/**
 * The distinct products of some graphs, to be timed beside them.
 * @param graphs with how often each runs
 */
export async function productsOf(
  graphs: readonly (readonly [graph: Graph, runs: number])[],
  options: SessionOptions,
) {
  const counts: Record<string, number> = {}
  const programs: Record<string, Awaited<ReturnType<typeof productRun>>> = {}
  for (const [graph, runs] of graphs) {
    for (const [key, { node, count }] of distinctProducts(graph)) {
      programs[key] ??= await productRun(node, options)
      counts[key] = (counts[key] ?? 0) + count * runs
    }
  }
  const names = Object.keys(programs)
  return {
    candidates: Object.fromEntries(names.map((name) => [name, programs[name]!.run])),
    /** All of them, as often as the graphs make them. @param seconds of each once */
    seconds: (seconds: Readonly<Record<string, number>>) =>
      names.reduce((sum, name) => sum + counts[name]! * seconds[name]!, 0),
    async release() {
      for (const { release } of Object.values(programs)) await release()
    },
  }
}
