/** Every row of the operator table against float64 and finite differences. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Operator } from '../../stages/ops/operator.ts'
import { type Op, operators } from '../../stages/ops.ts'
import {
  backwardGraph,
  checkGradient,
  checkGradientInOnnx,
  draw,
  forwardGraph,
} from './gradient-check.ts'
import { interpret } from './interpreter.ts'
import { operatorCases } from './operator-cases.ts'
import { runGraph } from './run-graph.ts'

const ops = Object.keys(operators) as Op[]
const rowOf = (op: Op): Operator => operators[op]

describe.each(ops)('%s', (op) => {
  const cases = operatorCases[op]

  it('has cases that use it', () => {
    expect(cases.length).toBeGreaterThan(0)
    for (const one of cases) {
      expect(forwardGraph(one).graph.nodes.map((node) => node.op)).toContain(op)
    }
  })

  it('has the results of float64 in ONNX Runtime', async () => {
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
  it('has the gradient of finite differences', async () => {
    for (const one of cases) await checkGradientInOnnx(one)
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

it('refuses to differentiate an operator without a rule', () => {
  const [one] = operatorCases.Trilu
  expect(() => backwardGraph(one!)).toThrow(/Trilu_0: Trilu has no gradient rule/)
})
