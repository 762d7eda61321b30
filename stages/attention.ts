/** Causal attention, over all queries at once or over some at a time. */
import { type Context, project } from './context.ts'
import type { Graph, Value } from './graph.ts'
import { headSizeOf, type ModelConfig } from './model.ts'
import { zeroAfter } from './order.ts'
import { frequencies } from './rope.ts'

/** Constants that all layers of a graph share. */
export interface Positions {
  /** Of the angles by which rotary embedding turns feature pairs, [context, head size / 2]. */
  readonly cosine: Value
  readonly sine: Value
}

export function positions(graph: Graph, model: ModelConfig, context: number): Positions {
  const each = frequencies(model)
  const half = each.length
  const cosine = new Float32Array(context * half)
  const sine = new Float32Array(context * half)
  for (let t = 0; t < context; t++) {
    for (const [i, frequency] of each.entries()) {
      cosine[t * half + i] = Math.cos(t * frequency)
      sine[t * half + i] = Math.sin(t * frequency)
    }
  }
  return {
    cosine: graph.constant([context, half], cosine),
    sine: graph.constant([context, half], sine),
  }
}

/** Of the tokens in [batch, heads, tokens, head size], and of the keys in scores. */
const TOKENS = 2
const LAST = -1

/**
 * x [N, hidden] -> [N, hidden], plus `residual`. Several query heads share a key head (grouped queries) by standing below
 * each other as rows of one matrix, so that keys are never repeated: [B, kv, group T, d] times [B, kv, T, d] transposed.
 */
export function attention(
  context: Context,
  positions: Positions,
  x: Value,
  residual: Value,
): Value {
  const { graph, model, microbatch } = context
  const { heads, keyValueHeads } = model
  const { batch, context: length } = microbatch
  const headSize = headSizeOf(model)
  const first = graph.integers([0])
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
  const flat = reshape(swap(attend(context, queries, keys, values)), [
    batch * length,
    heads * headSize,
  ])
  context.attended.push(flat)
  return project(context, flat, 'self_attn.o_proj.weight', residual)
}

/** queries [B, heads, T, d], keys and values [B, kv, T, d] -> [B, heads, T, d], by the chunks of the context. */
function attend(context: Context, queries: Value, keys: Value, values: Value): Value {
  const { graph, queries: sizes } = context
  if (sizes.length === 1) return attendTo(context, queries, keys, values, [])
  const cut = (value: Value) =>
    graph.addAll('Split', [value, graph.integers(sizes)], { axis: TOKENS })
  const join = (parts: readonly Value[]) =>
    parts.length === 1 ? parts[0]! : graph.add('Concat', parts, { axis: TOKENS })
  const [keyChunks, valueChunks] = [cut(keys), cut(values)]
  const mixed: Value[] = []
  for (const [i, chunk] of cut(queries).entries()) {
    const before = mixed.at(-1) ?? values
    // At no time do the scores of more than one chunk exist: they are computed again for the gradient...
    const attended = graph.recomputed(
      [chunk, keyChunks[0]!, valueChunks[0]!],
      ([own, firstKeys, firstValues], again) => {
        // What comes after the chunk is masked for all of its queries: it is left out.
        const visibleKeys = join([firstKeys!, ...keyChunks.slice(1, i + 1)])
        const visibleValues = join([firstValues!, ...valueChunks.slice(1, i + 1)])
        if (again) return attendTo(context, own!, visibleKeys, visibleValues, [1])
        // ...and going forward, a chunk waits for the one before it.
        const waiting = graph.add('Add', [own!, zeroAfter(graph, [before])])
        return attendTo(context, waiting, visibleKeys, visibleValues, [])
      },
    )
    mixed.push(attended)
  }
  return join(mixed)
}

/**
 * Queries that are the last among the tokens of keys and values.
 * @param leading dimensions of 1 that scores have besides
 */
function attendTo(
  { graph, model }: Context,
  queries: Value,
  keys: Value,
  values: Value,
  leading: readonly number[],
): Value {
  const { heads, keyValueHeads } = model
  const [batch, , count, headSize] = queries.shape as [number, number, number, number]
  const visible = keys.shape[TOKENS]!
  const rows = (heads / keyValueHeads) * count
  const reshape = (value: Value, shape: number[]) =>
    graph.add('Reshape', [value, graph.integers([...leading, ...shape])])
  const grouped = (value: Value) =>
    leading.length === 0 ? value : reshape(value, [batch, keyValueHeads, visible, headSize])
  const scores = graph.add(
    'FusedMatMul',
    [reshape(queries, [batch, keyValueHeads, rows, headSize]), grouped(keys)],
    { alpha: 1 / Math.sqrt(headSize), transB: 1 },
  )
  const whole = count === visible
  const mask = causalMask(graph, [...leading, count, visible], whole ? undefined : queries)
  const masked = graph.add('Add', [reshape(scores, [batch, heads, count, visible]), mask])
  const weights = graph.add('Softmax', [masked], { axis: LAST })
  const mixed = graph.add('FusedMatMul', [
    reshape(weights, [batch, keyValueHeads, rows, visible]),
    grouped(values),
  ])
  return graph.add('Reshape', [mixed, graph.integers([batch, heads, count, headSize])])
}

/**
 * Minus infinity where a key comes after the query, zero elsewhere: [.., queries, keys], the last queries among the keys.
 * Written as a rule, so that the model stays small: ONNX Runtime works it out once, as it loads, and keeps it.
 * @param on makes it wait for that value and be made anew each time: the masks of all chunks are half a square of the context
 */
function causalMask(graph: Graph, shape: readonly number[], on?: Value): Value {
  const [queries, keys] = shape.slice(-2) as [number, number]
  const infinity = graph.scalar(Number.NEGATIVE_INFINITY)
  const forbidden = graph.add('Expand', [
    on === undefined ? infinity : graph.add('Add', [infinity, zeroAfter(graph, [on])]),
    graph.integers(shape),
  ])
  const diagonal = graph.constant([], BigInt64Array.of(BigInt(keys - queries + 1)))
  return graph.add('Trilu', [forbidden, diagonal], { upper: 1 })
}
