/** The graphs of a stage. */
import { gradients, type Incoming } from './autodiff.ts'
import { Graph, type Value } from './graph.ts'
import { type Context, crossEntropy, embed, head, layer, positions } from './llama.ts'
import type { StageConfig } from './model.ts'
import { ENDS, type Layout, layoutOf } from './parameters.ts'

/** Prefix of the input that holds a parameter's gradient sum; the output that writes to it is named `${SUM}${name}'`. */
export const SUM = 'sum.'

/** Mark of an output that is written over the input of the same name. */
export const WRITTEN = "'"

export type Programs<Name extends string> = Readonly<Record<Name, Graph>>

export type BodyProgram = 'forward' | 'backward'
export type EndsProgram = 'embed' | 'embedBackward' | 'loss' | 'lossAndGradient'

/**
 * The first body stage's, which serve all: parameters go by the names of its layers.
 * - forward: input -> output
 * - backward: input, outputGradient -> inputGradient, sums in place. Recomputes the forward pass.
 */
export function bodyPrograms(config: StageConfig): Programs<BodyProgram> {
  const layout = layoutOf(config, 1)
  return {
    forward: build((graph) => {
      const { output } = body(graph, config, layout)
      graph.output('output', output)
    }),
    backward: build((graph) => {
      const { input, output, weights } = body(graph, config, layout)
      const gradient = graph.float('outputGradient', output.shape)
      differentiate(graph, [{ value: output, gradient }], weights, input)
    }),
  }
}

/**
 * - embed: tokens -> output
 * - embedBackward: tokens, outputGradient -> the embedding's sum in place
 * - loss: input, targets -> loss
 * - lossAndGradient: input, targets -> loss, inputGradient, sums in place
 */
export function endsPrograms(config: StageConfig): Programs<EndsProgram> {
  const layout = layoutOf(config, ENDS)
  const count = config.microbatch.batch * config.microbatch.context
  return {
    embed: build((graph) => {
      const { context } = ends(graph, config, layout, ['model.embed_tokens.weight'])
      graph.output('output', embed(context, graph.input('tokens', 'int32', [count])))
    }),
    embedBackward: build((graph) => {
      const { context, weights } = ends(graph, config, layout, ['model.embed_tokens.weight'])
      const value = embed(context, graph.input('tokens', 'int32', [count]))
      const gradient = graph.float('outputGradient', value.shape)
      differentiate(graph, [{ value, gradient }], weights)
    }),
    loss: build((graph) => {
      const { loss } = headAndLoss(graph, config, layout)
      graph.output('loss', loss)
    }),
    lossAndGradient: build((graph) => {
      const { input, logits, loss, gradient, weights } = headAndLoss(graph, config, layout)
      graph.output('loss', loss)
      differentiate(graph, [{ value: logits, gradient }], weights, input)
    }),
  }
}

function build(define: (graph: Graph) => void): Graph {
  const graph = new Graph()
  define(graph)
  return graph
}

function body(graph: Graph, config: StageConfig, layout: Layout) {
  const { model, microbatch } = config
  const weights = weightInputs(graph, layout)
  const input = activation(graph, config)
  const shared = positions(graph, model, microbatch.context)
  const layers = model.layers / config.bodyStages
  let output = input
  for (let i = 0; i < layers; i++) {
    const prefix = `model.layers.${i}.`
    const weight = (name: string) => weights.get(prefix + name)!
    const context: Context = { graph, model, microbatch, weight }
    output = graph.scope(`layers.${i}`, () => layer(context, shared, output))
  }
  return { input, output, weights }
}

function ends(graph: Graph, config: StageConfig, layout: Layout, names: readonly string[]) {
  const weights = weightInputs(graph, layout, names)
  const weight = (name: string) => weights.get(name)!
  const context: Context = { graph, model: config.model, microbatch: config.microbatch, weight }
  return { context, weights }
}

function headAndLoss(graph: Graph, config: StageConfig, layout: Layout) {
  const { context, weights } = ends(graph, config, layout, ['model.norm.weight', 'lm_head.weight'])
  const input = activation(graph, config)
  const logits = head(context, input)
  const targets = graph.input('targets', 'int32', [input.shape[0]!])
  return { input, logits, weights, ...crossEntropy(graph, logits, targets) }
}

function activation(graph: Graph, { model, microbatch }: StageConfig): Value {
  return graph.float('input', [microbatch.batch * microbatch.context, model.hiddenSize])
}

function weightInputs(
  graph: Graph,
  { parameters }: Layout,
  names: readonly string[] = parameters.map(({ name }) => name),
): Map<string, Value> {
  const used = parameters.filter(({ name }) => names.includes(name))
  return new Map(used.map(({ name, shape }) => [name, graph.float(name, shape)]))
}

/** Adds the gradients of the weights to their sums, in place, and gives the input's. */
function differentiate(
  graph: Graph,
  incoming: readonly Incoming[],
  weights: ReadonlyMap<string, Value>,
  input?: Value,
): void {
  const sums = new Map<Value, Value>()
  for (const [name, weight] of weights) sums.set(weight, graph.float(SUM + name, weight.shape))
  const targets = [...weights.values(), ...(input === undefined ? [] : [input])]
  const results = gradients(graph, incoming, targets, sums)
  for (const [i, target] of targets.entries()) {
    const sum = sums.get(target)
    if (sum === undefined) graph.output('inputGradient', results[i]!)
    else graph.output(sum.name + WRITTEN, results[i]!, sum)
  }
}
