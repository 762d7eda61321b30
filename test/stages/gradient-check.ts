/** Gradient graphs against central finite differences of a forward pass in float64. */
import { expect } from 'vitest'
import { gradients } from '../../stages/autodiff.ts'
import { Graph, type Value } from '../../stages/graph.ts'
import { Random } from '../../stages/random.ts'
import { sizeOf } from '../../stages/shape.ts'
import { interpret } from './interpreter.ts'
import { runGraph } from './run-graph.ts'

/** Any graph of float inputs x0, x1, ... */
export interface GradientCase {
  /** Shapes of the float inputs. */
  readonly shapes: readonly (readonly number[])[]
  /** Inputs are drawn from 0.5 .. 1.5 instead of a standard normal. */
  readonly positive?: true
  /** Adds the nodes. Returns the outputs that are differentiated. */
  readonly build: (graph: Graph, floats: readonly Value[]) => readonly Value[]
}

/** Float inputs by name, drawn for the case. */
export function draw({ shapes, positive }: GradientCase): Record<string, Float32Array> {
  const random = new Random('operators')
  return Object.fromEntries(
    shapes.map((shape, i) => [
      `x${i}`,
      Float32Array.from({ length: sizeOf(shape) }, () =>
        positive ? 0.5 + random.float() : random.gaussian(),
      ),
    ]),
  )
}

export function forwardGraph({ shapes, build }: GradientCase) {
  const graph = new Graph()
  const inputs = shapes.map((shape, i) => graph.float(`x${i}`, shape))
  const outputs = build(graph, inputs)
  for (const [i, output] of outputs.entries()) graph.output(`y${i}`, output)
  return { graph, outputs }
}

/** The gradients of sum_i <outputs_i, seed_i>, whose seeds are constants. */
export function backwardGraph(one: GradientCase) {
  const graph = new Graph()
  const inputs = one.shapes.map((shape, i) => graph.float(`x${i}`, shape))
  const outputs = one.build(graph, inputs)
  const seeds = outputs.map((output, i) => seed(graph, output, i))
  const incoming = outputs.map((value, i) => ({ value, gradient: seeds[i]! }))
  for (const [i, gradient] of gradients(graph, incoming, inputs).entries()) {
    // Two negations make an output a node of its own, since a gradient may be a seed or another gradient.
    graph.output(`dx${i}`, graph.add('Neg', [graph.add('Neg', [gradient])]))
  }
  return { graph, seeds }
}

function seed(graph: Graph, output: Value, i: number): Value {
  const random = new Random(`seed ${i}`)
  const data = Float32Array.from({ length: sizeOf(output.shape) }, () => random.gaussian())
  return graph.constant(output.shape, data)
}

/** Central differences of the interpreter's forward pass. */
function finiteDifferences(one: GradientCase, seeds: readonly Value[]): Float64Array[] {
  const step = 1e-5
  const { graph, outputs } = forwardGraph(one)
  const feeds: Record<string, Float64Array> = {}
  for (const [name, data] of Object.entries(draw(one))) feeds[name] = Float64Array.from(data)
  const loss = () => {
    const values = interpret(graph, feeds)
    return outputs.reduce((total, output, i) => {
      const { data } = values.get(output)!
      return total + data.reduce((sum, y, j) => sum + y * Number(seeds[i]!.data![j]), 0)
    }, 0)
  }
  return Object.values(feeds).map((x) =>
    x.map((middle, i) => {
      x[i] = middle + step
      const above = loss()
      x[i] = middle - step
      const below = loss()
      x[i] = middle
      return (above - below) / (2 * step)
    }),
  )
}

/** Compares the gradient graph with finite differences in float64. Returns the graph. */
export function checkGradient(one: GradientCase): Graph {
  const { graph, seeds } = backwardGraph(one)
  const values = interpret(graph, draw(one))
  const expected = finiteDifferences(one, seeds)
  for (const [i, { value }] of graph.outputs.entries()) {
    expect(values.get(value)!.shape).toEqual(one.shapes[i])
    expect(values.get(value)!.data).toBeAllclose(expected[i]!, { relative: 1e-6 })
  }
  return graph
}

/** `checkGradient`, and a comparison of ONNX Runtime with float64. */
export async function checkGradientInOnnx(one: GradientCase): Promise<Graph> {
  const graph = checkGradient(one)
  const values = interpret(graph, draw(one))
  const results = await runGraph(graph, draw(one))
  for (const { name, value } of graph.outputs) {
    expect(results[name]!).toBeAllclose(values.get(value)!.data, { relative: 1e-4 })
  }
  return graph
}
