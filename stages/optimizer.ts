/** Graphs over a chunk of the flat buffers: the update of each optimizer, and the gradient's norm. */
import { Graph, type Value } from './graph.ts'
import type { OptimizerConfig } from './model.ts'
import { WRITTEN } from './programs.ts'
import type { Update } from './stage.ts'

/** State that an optimizer keeps of each weight, with the terms of OptimizerState. */
export type Moment = 'first' | 'second'

/** Scalar inputs by name. They change with every update, and the graph does not. */
type Scalars = Readonly<Record<string, number>>

/** An optimizer. Its moments start at zero. */
interface Optimizer {
  readonly moments: readonly Moment[]
  /** @param updates number of updates, this one included: 1 for the first */
  readonly scalars: (config: OptimizerConfig, update: Update, updates: number) => Scalars
  /** Adds the nodes of an update. Returns the new weight and moments by the names of the old ones. */
  readonly build: (graph: Graph, values: Operands) => Readonly<Record<string, Value>>
}

/** weight, gradient, moments [chunk] and the scalars, by name. */
type Operands = Readonly<Record<string, Value>>

const OPTIMIZERS = {
  /**
   * AdamW (Loshchilov and Hutter 2019, algorithm 2) as in PyTorch. Constant factors are combined to save passes over the chunk:
   *   w *= 1 - lr decay;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
   *   w -= lr / c1 * m / (sqrt(v / c2) + eps)  =  lr sqrt(c2) / c1 * m / (sqrt(v) + eps sqrt(c2)),  c = 1 - b^t
   */
  adamw: {
    moments: ['first', 'second'],
    scalars: (config, { gradientScale, learningRate }, updates) => {
      const { beta1, beta2, epsilon, weightDecay } = config
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
    },
    build: (graph, values) => {
      const [mul, add] = both(graph)
      const v = values as Record<'weight' | 'gradient' | Moment, Value> & Operands
      const first = add(mul(v.first, v.beta1!), mul(v.gradient, v.gradientToFirst!))
      const square = mul(mul(v.gradient, v.gradient), v.gradientToSecond!)
      const second = add(mul(v.second, v.beta2!), square)
      const root = add(graph.add('Sqrt', [second]), v.epsilon!)
      const step = mul(graph.add('Div', [first, root]), v.stepSize!)
      return { weight: graph.add('Sub', [mul(v.weight, v.decay!), step]), first, second }
    },
  },
  /** Stochastic gradient descent with beta1 as its momentum: m = b1 m + g;  w = (1 - lr decay) w - lr m. */
  sgd: {
    moments: ['first'],
    scalars: ({ beta1, weightDecay }, { gradientScale, learningRate }) => ({
      decay: 1 - learningRate * weightDecay,
      beta1,
      gradientToFirst: gradientScale,
      stepSize: learningRate,
    }),
    build: (graph, values) => {
      const [mul, add] = both(graph)
      const v = values as Record<'weight' | 'gradient' | Moment, Value> & Operands
      const first = add(mul(v.first, v.beta1!), mul(v.gradient, v.gradientToFirst!))
      const step = mul(first, v.stepSize!)
      return { weight: graph.add('Sub', [mul(v.weight, v.decay!), step]), first }
    },
  },
} satisfies Readonly<Record<string, Optimizer>>

export type OptimizerKind = keyof typeof OPTIMIZERS

export const OPTIMIZER_KINDS = Object.keys(OPTIMIZERS) as OptimizerKind[]

export function optimizerOf({ kind }: OptimizerConfig): Optimizer {
  return OPTIMIZERS[kind ?? 'adamw']
}

function both(graph: Graph) {
  const mul = (a: Value, b: Value) => graph.add('Mul', [a, b])
  const add = (a: Value, b: Value) => graph.add('Add', [a, b])
  return [mul, add] as const
}

/** weight, gradient, moments [chunk] and the scalars -> weight', moments' in place. */
export function updateProgram(config: OptimizerConfig, chunk: number): Graph {
  const { moments, scalars, build } = optimizerOf(config)
  const graph = new Graph()
  const flat = ['weight', 'gradient', ...moments].map(
    (name) => [name, graph.float(name, [chunk])] as const,
  )
  const names = Object.keys(scalars(config, { gradientScale: 1, learningRate: 1 }, 1))
  const single = names.map((name) => [name, graph.float(name, [])] as const)
  const operands = Object.fromEntries([...flat, ...single])
  for (const [name, value] of Object.entries(build(graph, operands))) {
    graph.output(name + WRITTEN, value, operands[name])
  }
  return graph
}

/** x [chunk] -> sum of its squares [1]. */
export function sumOfSquaresProgram(chunk: number): Graph {
  const graph = new Graph()
  const x = graph.float('x', [chunk])
  graph.output('sum', graph.add('ReduceSumSquare', [x, graph.integers([0])], { keepdims: 1 }))
  return graph
}
