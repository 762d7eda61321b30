import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Permutation } from '../../../src/data/permutation.ts'
import { Sampling } from '../../../src/data/sampling.ts'
import { Random } from '../../../stages/random.ts'

const BLOCK = 1 << 12

test('a permutation contains every position once, and another seed gives another permutation', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3000 }), fc.nat(), (size, seed) => {
      const order = new Permutation(size, new Random(seed))
      const met = Array.from({ length: size }, (_, i) => order.at(i))
      expect([...met].sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, i) => i))
      if (size < 100) return
      const other = new Permutation(size, new Random(seed + 1))
      expect(met).not.toEqual(Array.from({ length: size }, (_, i) => other.at(i)))
    }),
  )
})

test('a permutation of 2^40 positions stays in range, and has no repetition among the drawn positions', () => {
  const order = new Permutation(2 ** 40 + 1, new Random(1))
  const met = new Set(Array.from({ length: 10_000 }, (_, i) => order.at(i)))
  expect(met.size).toBe(10_000)
  expect(Math.max(...met)).toBeGreaterThan(0.99 * 2 ** 40)
  expect(Math.max(...met)).toBeLessThanOrEqual(2 ** 40)
})

test('a permutation is well mixed: neighbours are far apart, and every tenth of the range gets its share', () => {
  const size = 100_000
  const order = new Permutation(size, new Random('mixed'))
  const tenths = new Array<number>(10).fill(0)
  let distance = 0
  for (let i = 0; i < 10_000; i++) {
    tenths[Math.floor((10 * order.at(i)) / size)]!++
    distance += Math.abs(order.at(i) - order.at(i + 1)) / 10_000
  }
  for (const count of tenths) expect(Math.abs(count - 1000)).toBeLessThan(150)
  // For independent positions, the mean distance is a third of the size.
  expect(Math.abs(distance / size - 1 / 3)).toBeLessThan(0.02)
})

const sources = fc.array(
  fc.record({
    weight: fc.double({ min: 0.01, max: 10, noNaN: true }),
    sequences: fc.integer({ min: 1, max: 5000 }),
  }),
  { minLength: 1, maxLength: 5 },
)

test('each source has its share of every block, and all its sequences come before one is repeated', () => {
  fc.assert(
    fc.property(sources, fc.nat(), (sources, seed) => {
      const sampling = new Sampling(seed, sources)
      const sum = sources.reduce((total, { weight }) => total + weight, 0)
      const drawn = sources.map((): number[] => [])
      for (let draw = 0; draw < 3 * BLOCK; draw++) {
        const { source, sequence } = sampling.at(draw)
        drawn[source]!.push(sequence)
      }
      sources.forEach(({ weight, sequences }, index) => {
        const own = drawn[index]!
        expect(Math.abs(own.length - (weight / sum) * 3 * BLOCK)).toBeLessThan(
          3 * (sources.length + 1),
        )
        for (let from = 0; from < own.length; from += sequences) {
          const epoch = own.slice(from, from + sequences)
          expect(new Set(epoch).size).toBe(epoch.length)
        }
      })
    }),
    { numRuns: 20 },
  )
})

test('a draw does not depend on the order of draws, also across blocks', () => {
  fc.assert(
    fc.property(
      sources,
      fc.array(fc.nat(5 * BLOCK), { minLength: 1, maxLength: 50 }),
      (sources, draws) => {
        const one = new Sampling(7, sources)
        const samples = draws.map((draw) => one.at(draw))
        const other = new Sampling(7, sources)
        const backward = draws.toReversed().map((draw) => other.at(draw))
        expect(backward.toReversed()).toEqual(samples)
        for (const { source, sequence } of samples) {
          expect(sequence).toBeLessThan(sources[source]!.sequences)
        }
      },
    ),
  )
})
