/** Every row of the operator table against float64 and finite differences. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { gradients } from '../../stages/autodiff.ts'
import { Graph, sizeOf, type Value } from '../../stages/graph.ts'
import type { Operator } from '../../stages/ops/operator.ts'
import { type Op, operators } from '../../stages/ops.ts'
import { Random } from '../../stages/random.ts'
import { interpret } from './interpreter.ts'
import { type OperatorCase, operatorCases } from './operator-cases.ts'
import { runGraph } from './run-graph.ts'

const ops = Object.keys(operators) as Op[]
const rowOf = (op: Op): Operator => operators[op]

/** Float inputs by name, drawn for the case. */
function draw({ shapes, positive }: OperatorCase): Record<string, Float32Array> {
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

function forwardGraph({ shapes, build }: OperatorCase) {
  const graph = new Graph()
  const inputs = shapes.map((shape, i) => graph.float(`x${i}`, shape))
  const outputs = build(graph, inputs)
  for (const [i, output] of outputs.entries()) graph.output(`y${i}`, output)
  return { graph, outputs }
}

/** The gradients of sum_i <outputs_i, seed_i>, whose seeds are constants. */
function backwardGraph(one: OperatorCase) {
  const graph = new Graph()
  const inputs = one.shapes.map((shape, i) => graph.float(`x${i}`, shape))
  const outputs = one.build(graph, inputs)
  const seeds = outputs.map((output, i) => seed(graph, output, i))
  const incoming = outputs.map((value, i) => ({ value, gradient: seeds[i]! }))
  for (const [i, gradient] of gradients(graph, incoming, inputs).entries()) {
    // Some gradients are a seed or each other, and an output must be a node of its own.
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
function finiteDifferences(one: OperatorCase, seeds: readonly Value[]): Float64Array[] {
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

function checkGradient(one: OperatorCase): Graph {
  const { graph, seeds } = backwardGraph(one)
  const values = interpret(graph, draw(one))
  const expected = finiteDifferences(one, seeds)
  for (const [i, { value }] of graph.outputs.entries()) {
    expect(values.get(value)!.shape).toEqual(one.shapes[i])
    expect(values.get(value)!.data).toBeAllclose(expected[i]!, { relative: 1e-6 })
  }
  return graph
}

describe.each(ops)('%s', (op) => {
  const cases = operatorCases[op]

  it('has cases, and they are about it', () => {
    expect(cases.length).toBeGreaterThan(0)
    for (const one of cases) {
      expect(forwardGraph(one).graph.nodes.map((node) => node.op)).toContain(op)
    }
  })

  it('computes in ONNX Runtime what it computes in float64', async () => {
    for (const one of cases) {
      const { graph } = forwardGraph(one)
      const values = interpret(graph, draw(one))
      const results = await runGraph(graph, draw(one))
      for (const { name, value } of graph.outputs) {
        expect(results[name]!).toBeAllclose(values.get(value)!.data, { relative: 1e-5 })
      }
    }
  })

  if (rowOf(op).gradient === undefined) return
  it('has the gradient that finite differences give', async () => {
    for (const one of cases) {
      const graph = checkGradient(one)
      const values = interpret(graph, draw(one))
      const results = await runGraph(graph, draw(one))
      for (const { name, value } of graph.outputs) {
        expect(results[name]!).toBeAllclose(values.get(value)!.data, { relative: 1e-4 })
      }
    }
  })
})

describe('a wrong gradient rule', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it.each(ops.filter((op) => rowOf(op).gradient !== undefined))('of %s is noticed', (op) => {
    const row = operators[op] as { gradient: NonNullable<Operator['gradient']> }
    const rule = row.gradient
    vi.spyOn(row, 'gradient').mockImplementation((backward) =>
      rule(backward).map((gradient) => {
        const { graph } = backward
        return gradient && graph.add('Mul', [gradient, graph.scalar(1.001)])
      }),
    )
    expect(() => {
      for (const one of operatorCases[op]) checkGradient(one)
    }).toThrow(/relative error/)
  })
})

it('refuses to differentiate what has no rule', () => {
  const [one] = operatorCases.Trilu
  expect(() => backwardGraph(one!)).toThrow(/Trilu_0: Trilu has no gradient rule/)
})
