/** How the work on a microbatch is cut: into runs of whole sequences, and within them where a tensor would get too large. */
import type { StageConfig } from './model.ts'

/** The largest that one tensor of a kind may get, in bytes. About four of its size are alive at a time. */
export interface Limits {
  /** Tokens of a run x vocabulary. Smaller ones would have the head's gradient sum go through memory too often. */
  readonly logits: number
  /** Heads of a run x queries x keys. */
  readonly scores: number
  /** Fewer queries than this at a time make thin products, and more nodes than they save memory. */
  readonly leastQueries: number
  /** Pieces of the keys. A chunk of queries takes as many as hold all that it may see, so nodes grow with chunks x pieces. */
  readonly keyPieces: number
}

export const LIMITS: Limits = {
  logits: 32 << 20,
  scores: 32 << 20,
  leastQueries: 64,
  keyPieces: 16,
}

/** Rows (tokens) for which the activations of one layer stay in the cache of a core from operator to operator. */
const ROWS_PER_THREAD = 512

/**
 * Sequences that one run takes. A microbatch is cut into as many runs as that makes: gradient sums grow in place, so it
 * costs nothing, and on a CPU it is faster and takes less memory. A GPU is better off with all at once.
 */
export function sequencesPerRun(
  { microbatch: { batch, context } }: StageConfig,
  { provider, threads }: { readonly provider: string; readonly threads: number },
): number {
  if (provider !== 'cpu') return batch
  return largestDivisor(batch, (ROWS_PER_THREAD * threads) / context)
}

/**
 * Tokens that one run of the head takes: those of `sequences`, or as many fewer as keep the logits within their limit.
 * Tokens know nothing of each other there, so a run may begin and end within a sequence.
 */
export function headRows(
  { model, microbatch: { batch, context } }: StageConfig,
  sequences: number,
  { logits }: Limits,
): number {
  const rows = logits / (model.vocabSize * Float32Array.BYTES_PER_ELEMENT)
  return largestDivisor(batch * context, Math.min(sequences * context, rows))
}

/** Numbers of queries, in the order of the sequence, whose scores are computed at a time. */
export function queryChunks(
  context: number,
  heads: number,
  { scores, leastQueries }: Limits,
): number[] {
  const fit = Math.floor(scores / (heads * context * Float32Array.BYTES_PER_ELEMENT))
  const each = Math.min(context, Math.max(fit, leastQueries))
  const whole: number[] = Array(Math.floor(context / each)).fill(each)
  const rest = context % each
  return rest === 0 ? whole : [...whole, rest]
}

/**
 * Numbers of keys in pieces that each hold the keys of some chunks of queries, the same number but for the last: one
 * while there are few chunks. With more, the last keys of a piece are masked for the first of its chunks.
 */
export function keyPieces(queries: readonly number[], { keyPieces }: Limits): number[] {
  const each = Math.ceil(queries.length / keyPieces)
  const pieces: number[] = []
  for (let i = 0; i < queries.length; i += each) {
    pieces.push(queries.slice(i, i + each).reduce((sum, count) => sum + count, 0))
  }
  return pieces
}

/** At most `most`, at least 1: graphs have static shapes, so all pieces are equal. */
function largestDivisor(whole: number, most: number): number {
  let part = Math.max(1, Math.min(whole, Math.floor(most)))
  while (whole % part > 0) part--
  return part
}
