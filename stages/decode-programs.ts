/** Graphs for incremental decoding: one layer with its past, the embedding, the head with or without loss. */
import { headsOf, merge, mix } from './attention.ts'
import type { Context } from './context.ts'
import { Graph, type Value } from './graph.ts'
import { embed, head, rmsNorm, swiglu } from './llama.ts'
import { headSizeOf, type ModelConfig } from './model.ts'
import { EMBEDDING, headName, modelTensors } from './parameters.ts'

const LAST = -1
/** Axis of the tokens in [batch, heads, tokens, head size]. */
const TOKENS = 2

/** Prefix of a layer's weights, which the names in its program omit. */
const OF_LAYER = /^model\.layers\.0\./

/**
 * One layer: input, cosine, sine, mask, pastKeys, pastValues -> output, keys, values of the new tokens.
 * @param past capacity for earlier tokens. The mask [tokens, past + tokens] hides unused places
 */
export function layerProgram(model: ModelConfig, tokens: number, past: number): Graph {
  const context = begin(model, tokens, (name) =>
    OF_LAYER.test(name) ? name.replace(OF_LAYER, '') : undefined,
  )
  const { graph } = context
  const input = graph.float('input', [tokens, model.hiddenSize])
  const angles = [tokens, headSizeOf(model) / 2]
  const positions = { cosine: graph.float('cosine', angles), sine: graph.float('sine', angles) }
  const mask = graph.float('mask', [tokens, past + tokens])
  const heads = headsOf(context, positions, rmsNorm(context, input, 'input_layernorm.weight'))
  const after = (name: string, fresh: Value) => {
    if (past === 0) return fresh
    const before = graph.float(name, fresh.shape.with(TOKENS, past))
    return graph.add('Concat', [before, fresh], { axis: TOKENS })
  }
  const all = {
    queries: heads.queries,
    keys: after('pastKeys', heads.keys),
    values: after('pastValues', heads.values),
  }
  const attended = merge(context, mix(context, all, mask), input)
  const normed = rmsNorm(context, attended, 'post_attention_layernorm.weight')
  graph.output('output', swiglu(context, normed, attended))
  graph.output('keys', heads.keys)
  graph.output('values', heads.values)
  return graph
}

/** tokens -> output [tokens, hidden] */
export function embedProgram(model: ModelConfig, tokens: number): Graph {
  const context = begin(model, tokens, (name) => (name === EMBEDDING ? name : undefined))
  context.graph.output('output', embed(context, context.graph.input('tokens', 'int32', [tokens])))
  return context.graph
}

/** input [rows, hidden] -> logits [rows, vocabulary] */
export function logitsProgram(model: ModelConfig, rows: number): Graph {
  const context = begin(model, rows, ofHead(model))
  const input = context.graph.float('input', [rows, model.hiddenSize])
  context.graph.output('logits', head(context, input))
  return context.graph
}

/** input [rows, hidden], targets [rows] -> the log-probability of each target, [rows, 1] */
export function scoreProgram(model: ModelConfig, rows: number): Graph {
  const context = begin(model, rows, ofHead(model))
  const { graph } = context
  const logits = head(context, graph.float('input', [rows, model.hiddenSize]))
  const targets = graph.input('targets', 'int32', [rows])
  const logProbabilities = graph.add('LogSoftmax', [logits], { axis: LAST })
  const index = graph.add('Reshape', [targets, graph.integers([rows, 1])])
  graph.output('scores', graph.add('GatherElements', [logProbabilities, index], { axis: 1 }))
  return graph
}

function ofHead(model: ModelConfig): (name: string) => string | undefined {
  const names = ['model.norm.weight', headName(model)]
  return (name) => (names.includes(name) ? name : undefined)
}

/**
 * A new graph for one sequence.
 * @param rename maps the name of a weight to its name in the graph; undefined omits the weight
 */
function begin(
  model: ModelConfig,
  tokens: number,
  rename: (name: string) => string | undefined,
): Context {
  const graph = new Graph()
  const weights = new Map<string, Value>()
  for (const { name, shape } of modelTensors(model)) {
    const own = rename(name)
    if (own !== undefined) weights.set(own, graph.float(own, shape))
  }
  return {
    graph,
    model,
    microbatch: { batch: 1, context: tokens },
    queries: [tokens],
    keys: [tokens],
    attended: [],
    weight: (name) => weights.get(name)!,
  }
}
