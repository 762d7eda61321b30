/**
 * Graphs of a stage. A run takes some whole sequences of a microbatch, or some tokens for the head. Gradient sums and losses
 * add up over the runs.
 */
import { positions } from './attention.ts'
import { gradients, type Incoming } from './autodiff.ts'
import { headRows, keyPieces, type Limits, queryChunks } from './chunks.ts'
import type { Context } from './context.ts'
import { Graph, type Value } from './graph.ts'
import { cut, KEPT, keptValues, stored } from './keep.ts'
import { crossEntropy, embed, head, layer } from './llama.ts'
import type { StageConfig } from './model.ts'
import { EMBEDDING, ENDS, headName, layoutOf } from './parameters.ts'
import { remembering } from './recent.ts'

/** Prefix of the input that holds a parameter's gradient sum. */
export const SUM = 'sum.'

/** Suffix of an output that overwrites the input of the same name. */
export const WRITTEN = "'"

export type Programs<Name extends string> = Readonly<Record<Name, Graph>>

/**
 * Graphs of the first body stage, which all body stages use. Parameters have the names of its layers.
 * - forward: input -> output
 * - forwardKeeping: input -> output and kept values
 * - backward: input, outputGradient, kept values -> inputGradient, sums in place. Computes all other values of forward again.
 */
export const bodyPrograms = remembering(buildBodyPrograms)

function buildBodyPrograms(
  config: StageConfig,
  sequences: number,
  limits: Limits,
): Programs<'forward' | 'forwardKeeping' | 'backward'> {
  const output = (program: Program) => {
    const input = activation(program, 'input')
    return { input, value: layers(program, input, config) }
  }
  const forward = begin(config, 1, sequences, limits)
  forward.graph.output('output', output(forward).value)

  const whole = begin(config, 1, sequences, limits)
  const { input, value } = output(whole)
  const { graph, attended } = whole
  const count = graph.nodes.length
  differentiate(whole, { value, gradient: activation(whole, 'outputGradient') }, input)
  const { keep = 'none', keepDtype: dtype = 'float32' } = config
  const kept = keptValues(keep, { graph, forward: count, attended })

  const keeping = begin(config, 1, sequences, limits)
  keeping.graph.output('output', output(keeping).value)
  for (const [i, { node, name }] of kept.entries()) {
    // Both graphs have the same nodes in the same order, so a position identifies a value.
    const same = keeping.graph.nodes[graph.nodes.indexOf(node!)]!
    const at = node!.outputs.findIndex((each) => each.name === name)
    keeping.graph.output(`${KEPT}${i}`, stored(keeping.graph, same.outputs[at]!, dtype))
  }
  const backward = cut(graph, kept, dtype)
  return { forward: forward.graph, forwardKeeping: keeping.graph, backward }
}

/**
 * - embed: tokens -> output
 * - embedBackward: tokens, outputGradient -> the embedding's sum in place
 * - loss: input, targets -> loss
 * - lossAndGradient: input, targets -> loss, inputGradient, sums in place
 */
export const endsPrograms = remembering(buildEndsPrograms)

function buildEndsPrograms(
  config: StageConfig,
  sequences: number,
  limits: Limits,
): Programs<'embed' | 'embedBackward' | 'loss' | 'lossAndGradient'> {
  const table = [EMBEDDING]
  const embedding = begin(config, ENDS, sequences, limits, table)
  embedding.graph.output('output', embed(embedding, tokens(embedding, 'tokens')))

  const scattering = begin(config, ENDS, sequences, limits, table)
  const value = embed(scattering, tokens(scattering, 'tokens'))
  differentiate(scattering, { value, gradient: activation(scattering, 'outputGradient') })

  const top = ['model.norm.weight', headName(config.model)]
  const measuring = begin(config, ENDS, sequences, limits, top)
  const rows = headRows(config, sequences, limits)
  const measured = headAndLoss(measuring, config, rows)
  measuring.graph.output('loss', measured.loss)

  const learning = begin(config, ENDS, sequences, limits, top)
  const { input, logits, loss, gradient } = headAndLoss(learning, config, rows)
  learning.graph.output('loss', loss)
  differentiate(learning, { value: logits, gradient }, input)

  return {
    embed: embedding.graph,
    embedBackward: scattering.graph,
    loss: measuring.graph,
    lossAndGradient: learning.graph,
  }
}

/** A new graph with its weights as inputs. */
interface Program extends Context {
  readonly weights: ReadonlyMap<string, Value>
}

/** @param names of the parameters of the graph; default: all */
function begin(
  config: StageConfig,
  stage: number,
  sequences: number,
  limits: Limits,
  names?: readonly string[],
): Program {
  const graph = new Graph()
  const parameters = layoutOf(config, stage).parameters.filter(
    ({ name }) => names === undefined || names.includes(name),
  )
  const weights = new Map(parameters.map(({ name, shape }) => [name, graph.float(name, shape)]))
  const { model } = config
  const { context } = config.microbatch
  const queries = queryChunks(context, sequences * model.heads, limits)
  const keys = keyPieces(queries, limits)
  const microbatch = { batch: sequences, context }
  const weight = (name: string) => weights.get(name)!
  return { graph, model, microbatch, queries, keys, attended: [], weights, weight }
}

function rowsOf({ microbatch }: Program): number {
  return microbatch.batch * microbatch.context
}

function activation(program: Program, name: string, rows = rowsOf(program)): Value {
  return program.graph.float(name, [rows, program.model.hiddenSize])
}

function tokens(program: Program, name: string, rows = rowsOf(program)): Value {
  return program.graph.input(name, 'int32', [rows])
}

function layers(program: Program, input: Value, { model, bodyStages }: StageConfig): Value {
  const { graph, weight } = program
  const shared = positions(graph, model, program.microbatch.context)
  let x = input
  for (let i = 0; i < model.layers / bodyStages; i++) {
    const own: Context = { ...program, weight: (name) => weight(`model.layers.${i}.${name}`) }
    x = graph.scope(`layers.${i}`, () => layer(own, shared, x))
  }
  return x
}

/** Head and loss over `rows` tokens, so that the logits of a whole microbatch need not exist at once. */
function headAndLoss(program: Program, { microbatch }: StageConfig, rows: number) {
  const input = activation(program, 'input', rows)
  const logits = head(program, input)
  const count = microbatch.batch * microbatch.context
  const targets = tokens(program, 'targets', rows)
  return { input, logits, ...crossEntropy(program.graph, logits, targets, count) }
}

/** Adds the gradients of the weights to their sums in place, and outputs the gradient of the input. */
function differentiate({ graph, weights }: Program, incoming: Incoming, input?: Value): void {
  const sums = new Map<Value, Value>()
  for (const [name, weight] of weights) sums.set(weight, graph.float(SUM + name, weight.shape))
  const targets = [...weights.values(), ...(input === undefined ? [] : [input])]
  const results = gradients(graph, [incoming], targets, sums)
  for (const [i, target] of targets.entries()) {
    const sum = sums.get(target)
    if (sum === undefined) graph.output('inputGradient', results[i]!)
    else graph.output(sum.name + WRITTEN, results[i]!, sum)
  }
}
