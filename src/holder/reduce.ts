/**
 * Adds up the gradient sums of a stage's holders, so that all replicas get the same bits (reduce-scatter, all-gather).
 * Each of a few owners adds up one range of all sums, in the roster's order and in float64. Every replica fetches the
 * ranges of the other owners. Because owners are few, messages grow linearly with the number of replicas.
 */
import { chunksOf } from '../../protocols/weights.ts'

interface Reduction {
  /** Ids of the holders that add up one range each. */
  readonly owners: readonly number[]
  /** Ids of the holders whose sums are added, in this order. */
  readonly contributors: readonly number[]
  /** Id of this member. If it is not an owner, it only fetches the totals. */
  readonly own: number
  /** Gradient sums of this member. */
  readonly sums: Float32Array
  /** Filled with the total; as long as `sums`. */
  readonly totals: Float32Array
  /** Fetches elements of another holder's sums, or of the total from the owner of the range. */
  fetch(from: number, kind: 'sum' | 'total', offset: number, into: Float32Array): Promise<void>
  /** Called when the range that this member owns is in `totals`. */
  owned(): void
}

/** The range that each owner adds up, in elements. */
function rangesOf(owners: readonly number[], length: number) {
  return owners.map((owner, i) => ({
    owner,
    from: Math.floor((i * length) / owners.length),
    to: Math.floor(((i + 1) * length) / owners.length),
  }))
}

/** Resolves when `totals` is complete. @throws what `fetch` throws */
export async function reduceSums(reduction: Reduction): Promise<void> {
  const { owners, contributors, own, sums, totals, fetch, owned } = reduction
  const ranges = rangesOf(owners, sums.length)
  for (const { owner, from, to } of ranges) {
    if (owner !== own) continue
    for (const { offset, chunk } of chunksOf(totals, from, to)) {
      const parts = await Promise.all(
        contributors.map(async (id) => {
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

/** Sets each element of `into` to the sum of the parts' elements, added in the order of the parts. */
function addUp(parts: readonly Float32Array[], into: Float32Array): void {
  for (let i = 0; i < into.length; i++) {
    let sum = 0
    for (const part of parts) sum += part[i]!
    into[i] = sum
  }
}

/** L2 norm, computed in float64. */
export function normOf(values: Float32Array): number {
  let sum = 0
  for (const value of values) sum += value * value
  return Math.sqrt(sum)
}
