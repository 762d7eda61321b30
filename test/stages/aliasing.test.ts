/** Refuses graphs that overwrite an input before all its readers have run. */
import { describe, expect, it } from 'vitest'
import { AliasError, assertInPlaceOutputs } from '../../stages/aliasing.ts'
import { Graph, type Value } from '../../stages/graph.ts'
import { encodeModel } from '../../stages/onnx.ts'
import { runGraph } from './run-graph.ts'

function graphOf(define: (graph: Graph, x: Value, one: Value) => void): Graph {
  const graph = new Graph()
  define(graph, graph.float('x', [3]), graph.scalar(1))
  return graph
}

describe('refuses', () => {
  it('a reader that may come after the writer', () => {
    const graph = graphOf((graph, x, one) => {
      graph.output('z', graph.add('Mul', [x, graph.scalar(2)]))
      graph.output('y', graph.add('Add', [x, one]), x)
    })
    expect(() => encodeModel(graph)).toThrow(AliasError)
    expect(() => encodeModel(graph)).toThrow('Mul_0 may read x after Add_1 has written y over it')
  })

  it('a reader of a reshaped view', () => {
    const graph = graphOf((graph, x, one) => {
      const view = graph.add('Reshape', [x, graph.integers([3, 1])])
      graph.output('z', graph.add('Exp', [view]))
      graph.output('y', graph.add('Add', [view, one]), x)
    })
    expect(() => assertInPlaceOutputs(graph)).toThrow('Exp_1 may read x after Add_2')
  })

  it('a writer that reads elements again after writing others', () => {
    const softmax = graphOf((graph, x) => {
      graph.output('y', graph.add('Softmax', [x], { axis: -1 }), x)
    })
    expect(() => assertInPlaceOutputs(softmax)).toThrow(
      'Softmax_0 cannot write y over x as it reads it',
    )
    const product = new Graph()
    const a = product.float('a', [2, 2])
    product.output('y', product.add('Gemm', [a, a, a]), a)
    expect(() => assertInPlaceOutputs(product)).toThrow(AliasError)
  })

  it('a writer that broadcasts what it overwrites', () => {
    const graph = new Graph()
    const x = graph.float('x', [2, 1])
    graph.output('y', graph.add('Add', [x, graph.float('row', [1, 2])]), x)
    expect(() => assertInPlaceOutputs(graph)).toThrow('output y does not have the size of x')
  })

  it('two outputs over one input', () => {
    const graph = graphOf((graph, x, one) => {
      const y = graph.add('Add', [x, one])
      graph.output('y', y, x)
      graph.output('z', graph.add('Add', [y, one]), x)
    })
    expect(() => assertInPlaceOutputs(graph)).toThrow('x is overwritten twice')
  })
})

it('allows readers that the writer waits for, and writes in place', async () => {
  const graph = graphOf((graph, x, one) => {
    const square = graph.add('Mul', [x, x])
    graph.output('y', graph.add('Add', [square, one]), x)
  })
  const x = Float32Array.of(1, 2, 3)
  await runGraph(graph, { x })
  expect(x).toEqual(Float32Array.of(2, 5, 10))
})

it('ignores nodes that no output needs', () => {
  const graph = graphOf((graph, x, one) => {
    graph.add('Softmax', [x], { axis: -1 })
    graph.output('y', graph.add('Add', [x, one]), x)
  })
  expect(() => assertInPlaceOutputs(graph)).not.toThrow()
})
