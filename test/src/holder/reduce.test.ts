/** The reduction: all replicas of a stage get the same total, for any division into ranges. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OWNERS_MAX } from '../../../protocols/step.ts'
import { normOf, reduceSums } from '../../../src/holder/reduce.ts'

/** Reduces the sums of holders and followers in one process. Gives the total of each of them. */
async function reduceAll(sums: readonly Float32Array[], counted: readonly number[]) {
  const holders = [...counted.keys()]
  const owners = holders.slice(0, OWNERS_MAX)
  const contributors = holders.filter((id) => counted[id]! > 0)
  const length = sums[0]!.length
  const totals = sums.map(() => new Float32Array(length))
  const owned = sums.map(() => Promise.withResolvers<void>())
  const asked = new Set<string>()
  await Promise.all(
    sums.map((own, id) =>
      reduceSums({
        owners,
        contributors,
        own: id,
        sums: own,
        totals: totals[id]!,
        owned: () => owned[id]!.resolve(),
        fetch: async (from, kind, offset, into) => {
          asked.add(`${kind} ${from}`)
          if (kind === 'total') await owned[from]!.promise
          const source = kind === 'total' ? totals[from]! : sums[from]!
          into.set(source.subarray(offset, offset + into.length))
        },
      }),
    ),
  )
  return { totals, asked }
}

test('every replica and follower gets the same bits: the float64 sum in the order of the holders', async () => {
  const replicas = fc
    .tuple(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ max: 3, min: 0 }),
    )
    .chain(([length, holders, followers]) =>
      fc.record({
        sums: fc.array(
          fc.float32Array({
            minLength: length,
            maxLength: length,
            noNaN: true,
            noDefaultInfinity: true,
            min: -1e6,
            max: 1e6,
          }),
          {
            minLength: holders + followers,
            maxLength: holders + followers,
          },
        ),
        holders: fc.constant(holders),
      }),
    )
  await fc.assert(
    fc.asyncProperty(replicas, async ({ sums, holders }) => {
      const { totals } = await reduceAll(sums, Array(holders).fill(1))
      const expected = Float32Array.from(sums[0]!, (_, i) =>
        sums.slice(0, holders).reduce((sum, each) => sum + each[i]!, 0),
      )
      for (const total of totals) expect(total).toEqual(expected)
    }),
  )
})

test('a holder without a microbatch is not asked for its sums, but gets the total', async () => {
  const sums = [new Float32Array([1, 2]), new Float32Array([99, 99]), new Float32Array([3, 4])]
  const { totals, asked } = await reduceAll(sums, [1, 0, 1])
  expect(totals.map((total) => [...total])).toEqual([
    [4, 6],
    [4, 6],
    [4, 6],
  ])
  expect(asked).not.toContain('sum 1')
})

test('the norm is the L2 norm', () => {
  expect(normOf(new Float32Array([3, 4]))).toBe(5)
})
