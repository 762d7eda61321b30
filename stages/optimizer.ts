/** The graphs that work on a chunk of the flat buffers: AdamW and the gradient's norm. */
import { Graph, type Value } from './graph.ts'
import type { OptimizerConfig } from './model.ts'
import { WRITTEN } from './programs.ts'
import type { Update } from './stage.ts'

/** Scalar inputs of the AdamW graph. They change with every update, the graph never. */
export type AdamwScalars = Readonly<Record<(typeof ADAMW_SCALARS)[number], number>>

const ADAMW_SCALARS = [
  'decay',
  'beta1',
  'gradientToFirst',
  'beta2',
  'gradientToSecond',
  'epsilon',
  'stepSize',
] as const

/**
 * AdamW as PyTorch defines it, with the constant factors gathered so that each element is touched as rarely as can be:
 *   w *= 1 - lr decay;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
 *   w -= lr / c1 * m / (sqrt(v / c2) + eps)  =  lr sqrt(c2) / c1 * m / (sqrt(v) + eps sqrt(c2)),  c = 1 - b^t
 * @param updates counted with this one: 1 for the first
 */
export function adamwScalars(
  { beta1, beta2, epsilon, weightDecay }: OptimizerConfig,
  { gradientScale, learningRate }: Update,
  updates: number,
): AdamwScalars {
  const correction1 = 1 - beta1 ** updates
  const correction2 = Math.sqrt(1 - beta2 ** updates)
  return {
    decay: 1 - learningRate * weightDecay,
    beta1,
    gradientToFirst: (1 - beta1) * gradientScale,
    beta2,
    gradientToSecond: (1 - beta2) * gradientScale ** 2,
    epsilon: epsilon * correction2,
    stepSize: (learningRate * correction2) / correction1,
  }
}

/** weight, gradient, first, second [chunk] and the scalars -> weight', first', second' in place. */
export function adamwProgram(chunk: number): Graph {
  const graph = new Graph()
  const mul = (a: Value, b: Value) => graph.add('Mul', [a, b])
  const [weight, gradient, first, second] = ['weight', 'gradient', 'first', 'second'].map((name) =>
    graph.float(name, [chunk]),
  ) as [Value, Value, Value, Value]
  const scalars = Object.fromEntries(
    ADAMW_SCALARS.map((name) => [name, graph.float(name, [])]),
  ) as Record<(typeof ADAMW_SCALARS)[number], Value>

  const newFirst = graph.add('Add', [
    mul(first, scalars.beta1),
    mul(gradient, scalars.gradientToFirst),
  ])
  const newSecond = graph.add('Add', [
    mul(second, scalars.beta2),
    mul(mul(gradient, gradient), scalars.gradientToSecond),
  ])
  const root = graph.add('Add', [graph.add('Sqrt', [newSecond]), scalars.epsilon])
  const step = mul(graph.add('Div', [newFirst, root]), scalars.stepSize)
  graph.output(`weight${WRITTEN}`, graph.add('Sub', [mul(weight, scalars.decay), step]), weight)
  graph.output(`first${WRITTEN}`, newFirst, first)
  graph.output(`second${WRITTEN}`, newSecond, second)
  return graph
}

/** x [chunk] -> sum of its squares [1]. */
export function sumOfSquaresProgram(chunk: number): Graph {
  const graph = new Graph()
  const x = graph.float('x', [chunk])
  graph.output('sum', graph.add('ReduceSumSquare', [x, graph.integers([0])], { keepdims: 1 }))
  return graph
}
