/**
 * Llama, as functions that add nodes to a graph. Activations are matrices [batch * context, hidden], so that all
 * projections are plain two-dimensional products; weights are [out, in], as Hugging Face has them.
 */
import type { Graph, Value } from './graph.ts'
import type { MicrobatchShape, ModelConfig } from './model.ts'

/** What a function needs beside its operands. */
export interface Context {
  readonly graph: Graph
  readonly model: ModelConfig
  readonly microbatch: MicrobatchShape
  /** A weight by its name within the layer or stage: `mlp.up_proj.weight`. */
  readonly weight: (name: string) => Value
}

/** Constants that all layers of a graph share. */
export interface Positions {
  /** Of the angles by which rotary embedding turns feature pairs, [context, head size / 2]. */
  readonly cosine: Value
  readonly sine: Value
  /** 0 where a query may look, -infinity at later tokens, [context, context]. */
  readonly mask: Value
}

const LAST = -1

export function positions(graph: Graph, model: ModelConfig, context: number): Positions {
  const half = model.hiddenSize / model.heads / 2
  const cosine = new Float32Array(context * half)
  const sine = new Float32Array(context * half)
  for (let t = 0; t < context; t++) {
    for (let i = 0; i < half; i++) {
      const angle = t * model.ropeTheta ** (-i / half)
      cosine[t * half + i] = Math.cos(angle)
      sine[t * half + i] = Math.sin(angle)
    }
  }
  // Written as a rule, so that the model stays small; ONNX Runtime works it out once, as it loads.
  const forbidden = graph.add('Expand', [
    graph.scalar(Number.NEGATIVE_INFINITY),
    graph.integers([context, context]),
  ])
  const mask = graph.add('Trilu', [forbidden, graph.constant([], BigInt64Array.of(1n))], {
    upper: 1,
  })
  return {
    cosine: graph.constant([context, half], cosine),
    sine: graph.constant([context, half], sine),
    mask,
  }
}

/** One transformer layer: [N, hidden] -> [N, hidden]. */
export function layer(context: Context, positions: Positions, x: Value): Value {
  const attended = context.graph.scope('self_attn', () =>
    attention(context, positions, rmsNorm(context, x, 'input_layernorm.weight'), x),
  )
  return context.graph.scope('mlp', () =>
    swiglu(context, rmsNorm(context, attended, 'post_attention_layernorm.weight'), attended),
  )
}

function rmsNorm({ graph, model, weight }: Context, x: Value, name: string): Value {
  return graph.add('SimplifiedLayerNormalization', [x, weight(name)], {
    axis: LAST,
    epsilon: model.rmsNormEps,
  })
}

/** x W^T, plus `residual` at no cost. */
function project({ graph, weight }: Context, x: Value, name: string, residual?: Value): Value {
  const operands = residual === undefined ? [x, weight(name)] : [x, weight(name), residual]
  return graph.add('Gemm', operands, { transB: 1 })
}

/**
 * Causal attention. Several query heads share a key head (grouped queries) by standing below each other as rows of one
 * matrix, so that keys are never repeated: [B, kv, group T, d] times [B, kv, T, d] transposed.
 */
function attention(context: Context, positions: Positions, x: Value, residual: Value): Value {
  const { graph, model, microbatch } = context
  const { heads, keyValueHeads } = model
  const { batch, context: length } = microbatch
  const headSize = model.hiddenSize / heads
  const first = graph.integers([0])
  const rows = (heads / keyValueHeads) * length
  const reshape = (value: Value, shape: number[]) =>
    graph.add('Reshape', [value, graph.integers(shape)])
  const swap = (value: Value) => graph.add('Transpose', [value], { perm: [0, 2, 1, 3] })
  const split = (name: string, count: number) =>
    swap(reshape(project(context, x, name), [batch, length, count, headSize]))

  const rotate = (value: Value) =>
    graph.add('RotaryEmbedding', [value, first, positions.cosine, positions.sine])
  const queries = rotate(split('self_attn.q_proj.weight', heads))
  const keys = rotate(split('self_attn.k_proj.weight', keyValueHeads))
  const values = split('self_attn.v_proj.weight', keyValueHeads)
  const scores = graph.add(
    'FusedMatMul',
    [reshape(queries, [batch, keyValueHeads, rows, headSize]), keys],
    { alpha: 1 / Math.sqrt(headSize), transB: 1 },
  )
  const masked = graph.add('Add', [reshape(scores, [batch, heads, length, length]), positions.mask])
  const weights = graph.add('Softmax', [masked], { axis: LAST })
  const mixed = graph.add('FusedMatMul', [
    reshape(weights, [batch, keyValueHeads, rows, length]),
    values,
  ])
  const joined = swap(reshape(mixed, [batch, heads, length, headSize]))
  const flat = reshape(joined, [batch * length, model.hiddenSize])
  return project(context, flat, 'self_attn.o_proj.weight', residual)
}

function swiglu(context: Context, x: Value, residual: Value): Value {
  const { graph } = context
  const gate = graph.add('QuickGelu', [project(context, x, 'mlp.gate_proj.weight')], { alpha: 1 })
  const gated = graph.add('Mul', [gate, project(context, x, 'mlp.up_proj.weight')])
  return project(context, gated, 'mlp.down_proj.weight', residual)
}

/** Rows of the embedding table: tokens [N] -> [N, hidden]. */
export function embed({ graph, weight }: Context, tokens: Value): Value {
  return graph.add('Gather', [weight('model.embed_tokens.weight'), tokens])
}

/** [N, hidden] -> logits [N, vocabulary]. */
export function head(context: Context, x: Value): Value {
  return project(context, rmsNorm(context, x, 'model.norm.weight'), 'lm_head.weight')
}

export interface CrossEntropy {
  /** Sum over the rows in nats, divided by `count`: [1, 1]. */
  readonly loss: Value
  /** Of the loss with respect to the logits, [N, vocabulary]. */
  readonly gradient: Value
}

/**
 * Cross-entropy of logits [N, vocabulary] against targets [N], with its gradient (softmax - one) / N written out: the
 * rules of the table would get there by three passes more over the largest tensor of the model.
 * @param count tokens of the whole microbatch, over which the loss is a mean
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
