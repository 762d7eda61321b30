/**
 * Functions that add the nodes of a Llama (Touvron et al. 2023, section 2.2) to a graph. Activations are matrices
 * [batch * context, hidden], so that all projections are two-dimensional products. Weights are [out, in], as in Hugging Face.
 */
import { attention, type Positions } from './attention.ts'
import { type Context, project } from './context.ts'
import type { Graph, Value } from './graph.ts'
import { EMBEDDING, headName } from './parameters.ts'

const LAST = -1

/** One transformer layer: [N, hidden] -> [N, hidden]. */
export function layer(context: Context, positions: Positions, x: Value): Value {
  const attended = context.graph.scope('self_attn', () =>
    attention(context, positions, rmsNorm(context, x, 'input_layernorm.weight'), x),
  )
  return context.graph.scope('mlp', () =>
    swiglu(context, rmsNorm(context, attended, 'post_attention_layernorm.weight'), attended),
  )
}

export function rmsNorm({ graph, model, weight }: Context, x: Value, name: string): Value {
  return graph.add('SimplifiedLayerNormalization', [x, weight(name)], {
    axis: LAST,
    epsilon: model.rmsNormEps,
  })
}

export function swiglu(context: Context, x: Value, residual: Value): Value {
  const { graph } = context
  const gate = graph.add('QuickGelu', [project(context, x, 'mlp.gate_proj.weight')], { alpha: 1 })
  const gated = graph.add('Mul', [gate, project(context, x, 'mlp.up_proj.weight')])
  return project(context, gated, 'mlp.down_proj.weight', residual)
}

/** Rows of the embedding table: tokens [N] -> [N, hidden]. */
export function embed({ graph, weight }: Context, tokens: Value): Value {
  return graph.add('Gather', [weight(EMBEDDING), tokens])
}

/** [N, hidden] -> logits [N, vocabulary]. */
export function head(context: Context, x: Value): Value {
  return project(context, rmsNorm(context, x, 'model.norm.weight'), headName(context.model))
}

export interface CrossEntropy {
  /** Sum of the losses of the rows in nats, divided by `count`: [1, 1]. */
  readonly loss: Value
  /** Gradient of the loss with respect to the logits, [N, vocabulary]. */
  readonly gradient: Value
}

/**
 * Cross-entropy of logits [N, vocabulary] against targets [N], with the gradient (softmax - one) / N as explicit nodes. The
 * gradient rules of the table would need three more passes over the largest tensor of the model.
 * @param count tokens of the whole microbatch, over which the loss is the mean
 */
export function crossEntropy(
  graph: Graph,
  logits: Value,
  targets: Value,
  count: number,
): CrossEntropy {
  const column = [logits.shape[0]!, 1]
  const index = graph.add('Reshape', [targets, graph.integers(column)])
  const logProbabilities = graph.add('LogSoftmax', [logits], { axis: LAST })
  const ofTargets = graph.add('GatherElements', [logProbabilities, index], { axis: 1 })
  const sum = graph.add('ReduceSum', [ofTargets, graph.integers([0])], { keepdims: 1 })
  const minusOne = graph.add('Expand', [graph.scalar(-1), graph.integers(column)])
  const difference = graph.add(
    'ScatterElements',
    [graph.add('Exp', [logProbabilities]), index, minusOne],
    { axis: 1, reduction: 'add' },
  )
  return {
    loss: graph.add('Mul', [sum, graph.scalar(-1 / count)]),
    gradient: graph.add('Mul', [difference, graph.scalar(1 / count)]),
  }
}
