/** Causal attention (Vaswani et al. 2017, section 3.2), over all queries at once or in chunks of queries. */
import { type Context, project } from './context.ts'
import type { Graph, Value } from './graph.ts'
import { headSizeOf, type ModelConfig } from './model.ts'
import { zeroAfter } from './order.ts'
import { frequencies } from './rope.ts'

/** Constants that all layers of a graph share. */
export interface Positions {
  /** Cosines and sines of the angles of rotary embedding, [context, head size / 2]. */
  readonly cosine: Value
  readonly sine: Value
}

export function positions(graph: Graph, model: ModelConfig, context: number): Positions {
  const { cosine, sine, half } = rotaryTables(model, 0, context)
  return {
    cosine: graph.constant([context, half], cosine),
    sine: graph.constant([context, half], sine),
  }
}

/** Cosines and sines of the positions from `first` on: [count, head size / 2] each. */
export function rotaryTables(model: ModelConfig, first: number, count: number) {
  const each = frequencies(model)
  const half = each.length
  const cosine = new Float32Array(count * half)
  const sine = new Float32Array(count * half)
  for (let t = 0; t < count; t++) {
    for (const [i, frequency] of each.entries()) {
      cosine[t * half + i] = Math.cos((first + t) * frequency)
      sine[t * half + i] = Math.sin((first + t) * frequency)
    }
  }
  return { cosine, sine, half }
}

/** Axis of the tokens in [batch, heads, tokens, head size]. */
const TOKENS = 2
const LAST = -1

/** Queries [B, heads, T, d], keys and values [B, kv, T, d]. */
export interface Heads {
  readonly queries: Value
  readonly keys: Value
  readonly values: Value
}

/** x [N, hidden] -> [N, hidden], plus `residual`. */
export function attention(
  context: Context,
  positions: Positions,
  x: Value,
  residual: Value,
): Value {
  return merge(context, attend(context, headsOf(context, positions, x)), residual)
}

/** Projects x [N, hidden] to heads. Rotary embedding turns queries and keys by their positions. */
export function headsOf(context: Context, positions: Positions, x: Value): Heads {
  const { graph, model, microbatch } = context
  const { heads, keyValueHeads } = model
  const { batch, context: length } = microbatch
  const headSize = headSizeOf(model)
  const first = graph.integers([0])
  const split = (name: string, count: number) =>
    swap(graph, reshape(graph, project(context, x, name), [batch, length, count, headSize]))
  const rotate = (value: Value) =>
    graph.add('RotaryEmbedding', [value, first, positions.cosine, positions.sine])
  return {
    queries: rotate(split('self_attn.q_proj.weight', heads)),
    keys: rotate(split('self_attn.k_proj.weight', keyValueHeads)),
    values: split('self_attn.v_proj.weight', keyValueHeads),
  }
}

/** Output projection of attention: mixed [B, heads, T, d] -> [N, hidden], plus `residual`. */
export function merge(context: Context, mixed: Value, residual: Value): Value {
  const { graph, model, microbatch } = context
  const flat = reshape(graph, swap(graph, mixed), [
    microbatch.batch * microbatch.context,
    model.heads * headSizeOf(model),
  ])
  context.attended.push(flat)
  return project(context, flat, 'self_attn.o_proj.weight', residual)
}

function reshape(graph: Graph, value: Value, shape: readonly number[]): Value {
  return graph.add('Reshape', [value, graph.integers(shape)])
}

/** [B, T, heads, d] to [B, heads, T, d], and back. */
function swap(graph: Graph, value: Value): Value {
  return graph.add('Transpose', [value], { perm: [0, 2, 1, 3] })
}

/** Causal attention in chunks of queries: [B, heads, T, d]. */
function attend(context: Context, heads: Heads): Value {
  const { graph, queries: sizes, keys: pieces } = context
  const { queries, keys, values } = heads
  if (sizes.length === 1) return attendTo(context, heads, 0, [])
  const cut = (value: Value, into: readonly number[]) =>
    graph.addAll('Split', [value, graph.integers(into)], { axis: TOKENS })
  const join = (parts: readonly Value[]) =>
    parts.length === 1 ? parts[0]! : graph.add('Concat', parts, { axis: TOKENS })
  const [keyPieces, valuePieces] = [cut(keys, pieces), cut(values, pieces)]
  const [queryEnds, keyEnds] = [endsOf(sizes), endsOf(pieces)]
  const mixed: Value[] = []
  for (const [i, chunk] of cut(queries, sizes).entries()) {
    const before = mixed.at(-1) ?? values
    const end = queryEnds[i]!
    const position = end - sizes[i]!
    const seen = keyEnds.findIndex((keyEnd) => keyEnd >= end) + 1
    // The scores of one chunk exist at a time: the gradient computes the scores of a chunk again.
    const attended = graph.recomputed(
      [chunk, keyPieces[0]!, valuePieces[0]!],
      ([own, firstKeys, firstValues], again) => {
        // All queries of a chunk mask later pieces of keys, so those pieces are left out.
        const visible = {
          keys: join([firstKeys!, ...keyPieces.slice(1, seen)]),
          values: join([firstValues!, ...valuePieces.slice(1, seen)]),
        }
        if (again) return attendTo(context, { queries: own!, ...visible }, position, [1])
        // In forward a chunk waits for the chunk before it.
        const waiting = graph.add('Add', [own!, zeroAfter(graph, [before])])
        return attendTo(context, { queries: waiting, ...visible }, position, [])
      },
    )
    mixed.push(attended)
  }
  return join(mixed)
}

/** Cumulative ends of the pieces. */
function endsOf(pieces: readonly number[]): number[] {
  let end = 0
  return pieces.map((piece) => {
    end += piece
    return end
  })
}

/**
 * Causal attention of some queries to keys.
 * @param position index of the first query among the keys
 * @param leading as in {@link mix}
 */
function attendTo(
  context: Context,
  heads: Heads,
  position: number,
  leading: readonly number[],
): Value {
  const [count, visible] = [heads.queries.shape[TOKENS]!, heads.keys.shape[TOKENS]!]
  const after = count === visible ? undefined : heads.queries
  const shape = [...leading, count, visible]
  return mix(context, heads, causalMask(context.graph, shape, position, after), leading)
}

/**
 * Softmax of the scores times the values: [B, heads, queries, d]. With grouped queries (Ainslie et al. 2023) several query
 * heads share a key head. Their queries are rows of one matrix, so that keys are not repeated: [B, kv, group T, d] times [B,
 * kv, T, d] transposed.
 * @param mask added to the scores, [.., queries, keys]
 * @param leading number of additional leading dimensions of 1 in the scores
 */
export function mix(
  { graph, model }: Context,
  { queries, keys, values }: Heads,
  mask: Value,
  leading: readonly number[] = [],
): Value {
  const { heads, keyValueHeads } = model
  const [batch, , count, headSize] = queries.shape as [number, number, number, number]
  const visible = keys.shape[TOKENS]!
  const rows = (heads / keyValueHeads) * count
  const shaped = (value: Value, ...shape: number[]) => reshape(graph, value, [...leading, ...shape])
  const grouped = (value: Value) =>
    leading.length === 0 ? value : shaped(value, batch, keyValueHeads, visible, headSize)
  const scores = graph.add(
    'FusedMatMul',
    [shaped(queries, batch, keyValueHeads, rows, headSize), grouped(keys)],
    { alpha: 1 / Math.sqrt(headSize), transB: 1 },
  )
  const masked = graph.add('Add', [shaped(scores, batch, heads, count, visible), mask])
  const weights = graph.add('Softmax', [masked], { axis: LAST })
  const mixed = graph.add('FusedMatMul', [
    shaped(weights, batch, keyValueHeads, rows, visible),
    grouped(values),
  ])
  return reshape(graph, mixed, [batch, heads, count, headSize])
}

/**
 * Mask: minus infinity where a key comes after the query, zero elsewhere: [.., queries, keys]. Nodes compute the mask, so that
 * the model stays small. ONNX Runtime folds the mask to a constant during loading.
 * @param position index of the first query among the keys
 * @param on a value that the mask waits for. The mask is then computed in each run, because constant masks of all chunks would
 *   take half a square of the context
 */
function causalMask(graph: Graph, shape: readonly number[], position: number, on?: Value): Value {
  const infinity = graph.scalar(Number.NEGATIVE_INFINITY)
  const forbidden = graph.add('Expand', [
    on === undefined ? infinity : graph.add('Add', [infinity, zeroAfter(graph, [on])]),
    graph.integers(shape),
  ])
  const diagonal = graph.constant([], BigInt64Array.of(BigInt(position + 1)))
  return graph.add('Trilu', [forbidden, diagonal], { upper: 1 })
}
