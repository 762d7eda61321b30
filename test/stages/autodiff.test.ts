/** Gradients through several nodes: values with several uses, and sums that grow in place. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gradients } from '../../stages/autodiff.ts'
import { Graph, liveNodes, type Value } from '../../stages/graph.ts'
import { crossEntropy } from '../../stages/llama.ts'
import type { Operator } from '../../stages/ops/operator.ts'
import { operators } from '../../stages/ops.ts'
import { checkGradient, checkGradientInOnnx } from './gradient-check.ts'
import { interpret } from './interpreter.ts'

function opsOf(graph: Graph): string[] {
  return liveNodes(graph).map((node) => node.op)
}

describe('a value with several uses', () => {
  it('gets the sum of the gradients of its uses', async () => {
    await checkGradientInOnnx({
      shapes: [[2, 3]],
      build: (graph, [x]) => {
        const left = graph.add('Exp', [x!])
        const right = graph.add('Mul', [left, x!])
        return [graph.add('Add', [left, right]), graph.add('Sub', [right, x!])]
      },
    })
  })

  it('is summed within the products if they can add', async () => {
    const graph = await checkGradientInOnnx({
      shapes: [
        [4, 3],
        [2, 3],
        [5, 3],
      ],
      build: (graph, [x, a, b]) =>
        [a!, b!].map((weight) => graph.add('Gemm', [x!, weight], { transB: 1 })),
    })
    expect(opsOf(graph)).not.toContain('Add')
  })

  it('does not compute a shared product twice to save an addition', () => {
    const graph = checkGradient({
      shapes: [
        [4, 3],
        [3, 3],
      ],
      build: (graph, [x, weight]) => {
        // The gradient of the sum, a product, goes to x, which has one from the sigmoid by then, and to the branch.
        const sum = graph.add('Add', [x!, graph.add('Exp', [x!])])
        return [graph.add('Gemm', [sum, weight!]), graph.add('Sigmoid', [x!])]
      },
    })
    expect(opsOf(graph).filter((op) => op === 'Gemm')).toHaveLength(2)
  })

  it('may be a table that is read twice', async () => {
    await checkGradientInOnnx({
      shapes: [[5, 2]],
      build: (graph, [table]) =>
        [Int32Array.of(0, 3, 3), Int32Array.of(3, 4, 0)].map((rows) =>
          graph.add('Gather', [table!, graph.constant([3], rows)]),
        ),
    })
  })
})

it('differentiates any chain of elementwise operators', () => {
  const step = fc.record({
    op: fc.constantFrom('Add', 'Sub', 'Mul', 'Sigmoid', 'QuickGelu', 'Neg'),
    left: fc.nat(),
    right: fc.nat(),
  })
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      checkGradient({
        shapes: [[2, 2], [2], [2, 1]],
        build: (graph, inputs) => {
          // Sigmoids keep values, and so rounding errors, small. Every input is used.
          const values: Value[] = inputs.map((input) => graph.add('Sigmoid', [input]))
          for (const { op, left, right } of steps) {
            const operands = [left, right].map((i) => values[i % values.length]!)
            const unary = op === 'Sigmoid' || op === 'QuickGelu' || op === 'Neg'
            const attributes = op === 'QuickGelu' ? { alpha: 1 } : {}
            values.push(graph.add(op, unary ? operands.slice(0, 1) : operands, attributes))
          }
          return [...values.slice(0, inputs.length), values.at(-1)!]
        },
      })
    }),
    { numRuns: 40, seed: 1 },
  )
})

describe('gradient sums', () => {
  it('grow within the product', () => {
    const graph = new Graph()
    const x = graph.float('x', [2, 3])
    const [w, sum] = [graph.float('w', [4, 3]), graph.float('sum', [4, 3])]
    const value = graph.add('Gemm', [x, w], { transB: 1 })
    const incoming = [{ value, gradient: graph.float('dy', [2, 4]) }]
    const [gradient] = gradients(graph, incoming, [w], new Map([[w, sum]]))
    graph.output("sum'", gradient!, sum)
    expect(liveNodes(graph).map((node) => [node.op, node.inputs.at(-1)])).toEqual([['Gemm', sum]])
  })

  it('of a table get the rows scattered into them', () => {
    const graph = new Graph()
    const [table, sum] = [graph.float('table', [4, 3]), graph.float('sum', [4, 3])]
    const value = graph.add('Gather', [table, graph.input('rows', 'int32', [2])])
    const incoming = [{ value, gradient: graph.float('dy', [2, 3]) }]
    const [gradient] = gradients(graph, incoming, [table], new Map([[table, sum]]))
    graph.output("sum'", gradient!, sum)
    expect(opsOf(graph)).toEqual(['Cast', 'Reshape', 'ScatterND'])
  })

  it('replace the destination of scattered rows only if it is zero', () => {
    const graph = new Graph()
    const [data, sum] = [graph.float('data', [4, 3]), graph.float('sum', [4, 3])]
    const rows = graph.constant([2, 1], BigInt64Array.of(0n, 2n))
    const updates = graph.float('updates', [2, 3])
    const scattered = graph.add('ScatterND', [data, rows, updates], { reduction: 'add' })
    const { accumulate }: Operator = operators.ScatterND
    expect(accumulate?.(graph, scattered.node!, sum)).toBeUndefined()
  })
})

it('throws if no output depends on a target', () => {
  const graph = new Graph()
  const [x, y] = [graph.float('x', [1]), graph.float('y', [1])]
  const value = graph.add('Exp', [x])
  const incoming = [{ value, gradient: graph.scalar(1) }]
  expect(() => gradients(graph, incoming, [x, y])).toThrow(
    'nothing differentiable leads from y to the outputs',
  )
})

it('gives the gradient of cross-entropy of the table', () => {
  const graph = new Graph()
  const logits = graph.float('logits', [3, 5])
  const targets = graph.constant([3], Int32Array.of(4, 0, 4))
  const { loss, gradient } = crossEntropy(graph, logits, targets, 6)
  const incoming = [{ value: loss, gradient: graph.constant([1, 1], Float32Array.of(1)) }]
  const [expected] = gradients(graph, incoming, [logits])
  graph.output('written out', gradient)
  graph.output('derived', expected!)
  const values = interpret(graph, { logits: Array.from({ length: 15 }, (_, i) => Math.sin(i)) })
  expect(values.get(gradient)!.data).toBeAllclose(values.get(expected!)!.data, { relative: 1e-6 })
})
