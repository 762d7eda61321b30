/** Division of the work on a microbatch: into runs of whole sequences, and within a run where a tensor would be too large. */
import type { StageConfig } from './model.ts'

/** Largest tensors of each kind, in bytes. About four tensors of that size are alive at a time. */
export interface Limits {
  /** Logits of a run: tokens x vocabulary. Smaller runs would read and write the head's gradient sum too often. */
  readonly logits: number
  /** Scores of a run: heads x queries x keys. */
  readonly scores: number
  /** Least queries of a chunk. Fewer queries make thin products, and many nodes for little memory. */
  readonly leastQueries: number
  /** Most pieces of the keys. A chunk of queries reads all pieces with visible keys, so nodes grow with chunks x pieces. */
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
 * Sequences of a run. A microbatch is divided into runs of equal size. Gradient sums grow in place, so a division costs
 * nothing. On a CPU short runs are faster and take less memory. A GPU is faster with one run.
 */
export function sequencesPerRun(
  { microbatch: { batch, context } }: StageConfig,
  { provider, threads }: { readonly provider: string; readonly threads: number },
): number {
  if (provider !== 'cpu') return batch
  return largestDivisor(batch, (ROWS_PER_THREAD * threads) / context)
}

/**
 * Tokens of a run of the head: the tokens of `sequences`, or fewer if the logits would be over their limit. The head treats
 * each token alone, so a run may begin and end within a sequence.
 */
export function headRows(
  { model, microbatch: { batch, context } }: StageConfig,
  sequences: number,
  { logits }: Limits,
): number {
  const rows = logits / (model.vocabSize * Float32Array.BYTES_PER_ELEMENT)
  return largestDivisor(batch * context, Math.min(sequences * context, rows))
}

/** Numbers of queries of the chunks, in the order of the sequence. The scores of a chunk are computed at a time. */
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
 * Numbers of keys of the pieces. A piece has the keys of the same number of chunks of queries, except the last piece. With few
 * chunks a piece has one chunk. With more, the first chunks of a piece mask its last keys.
 */
export function keyPieces(queries: readonly number[], { keyPieces }: Limits): number[] {
  const each = Math.ceil(queries.length / keyPieces)
  const pieces: number[] = []
  for (let i = 0; i < queries.length; i += each) {
    pieces.push(queries.slice(i, i + each).reduce((sum, count) => sum + count, 0))
  }
  return pieces
}

/** Largest divisor of `whole` up to `most`, at least 1. Graphs have static shapes, so all pieces are equal. */
function largestDivisor(whole: number, most: number): number {
  let part = Math.max(1, Math.min(whole, Math.floor(most)))
  while (whole % part > 0) part--
  return part
}
