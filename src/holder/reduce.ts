/**
 * Brings the gradient sums of a stage's replicas together, so that all hold the same bits (reduce-scatter, all-gather):
 * each of a few owners adds up one range of all replicas' sums, in the roster's order and in float64, and everyone
 * fetches the totals. With few owners the number of messages grows with the number of replicas, not with its square.
 */
import { chunksOf } from '../../protocols/weights.ts'

/** Ranges of one stage's sums. */
export const OWNERS_MAX = 4

interface Replica {
  readonly id: number
  /** Microbatches in its sum; one without any is not asked for it. */
  readonly counted: number
}

interface Reduction {
  /** All replicas of the stage, in the order in which their sums are added. */
  readonly holders: readonly Replica[]
  /** Of this member, which need not be one of them: one that learns the stage wants the totals alone. */
  readonly own: number
  readonly sums: Float32Array
  /** Filled. */
  readonly totals: Float32Array
  /** Fetches a range of another replica's sum, or of the total from the one that owns the range. */
  fetch(from: number, kind: 'sum' | 'total', offset: number, into: Float32Array): Promise<void>
  /** The range that this replica owns is in `totals`. */
  owned(): void
}

/** The range that each owner adds up. */
function rangesOf(holders: readonly Replica[], length: number) {
  const owners = holders.slice(0, OWNERS_MAX)
  return owners.map(({ id }, i) => ({
    owner: id,
    from: Math.floor((i * length) / owners.length),
    to: Math.floor(((i + 1) * length) / owners.length),
  }))
}

export async function reduceSums(reduction: Reduction): Promise<void> {
  const { holders, own, sums, totals, fetch, owned } = reduction
  const contributors = holders.filter(({ counted }) => counted > 0)
  const ranges = rangesOf(holders, sums.length)
  for (const { owner, from, to } of ranges) {
    if (owner !== own) continue
    for (const { offset, chunk } of chunksOf(totals, from, to)) {
      const parts = await Promise.all(
        contributors.map(async ({ id }) => {
          if (id === own) return sums.subarray(offset, offset + chunk.length)
          const part = new Float32Array(chunk.length)
          await fetch(id, 'sum', offset, part)
          return part
        }),
      )
      addUp(parts, chunk)
    }
    owned()
  }
  await Promise.all(
    ranges
      .filter(({ owner }) => owner !== own)
      .map(async ({ owner, from, to }) => {
        for (const { offset, chunk } of chunksOf(totals, from, to)) {
          await fetch(owner, 'total', offset, chunk)
        }
      }),
  )
}

/** Element by element, in the order of the parts. */
function addUp(parts: readonly Float32Array[], into: Float32Array): void {
  for (let i = 0; i < into.length; i++) {
    let sum = 0
    for (const part of parts) sum += part[i]!
    into[i] = sum
  }
}

/** In float64. */
export function normOf(values: Float32Array): number {
  let sum = 0
  for (const value of values) sum += value * value
  return Math.sqrt(sum)
}
