/** Laws of the strategies (arXiv 2506.15461, section 4.2), on random weights. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { choose, STRATEGIES } from '../../../src/recovery/index.ts'
import type { Source } from '../../../src/recovery/strategy.ts'

const initial = Float32Array.of(9, 9, 9)
const settings = { normExponent: 1, learningRateScale: 1.1 }
const checkfree = STRATEGIES.get('checkfree')!

function sources(a: number[], b: number[], normA: number | null, normB: number | null): Source[] {
  return [
    { stage: 1, weights: Float32Array.from(a), norm: normA, learningRateScale: 1, optimizer: null },
    { stage: 3, weights: Float32Array.from(b), norm: normB, learningRateScale: 1, optimizer: null },
  ]
}

// Positive, so that nothing cancels and relative errors mean something.
const vector = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 3, maxLength: 3 })
const norm = fc.float({ noNaN: true, min: Math.fround(0.001), max: 1000 })

describe('checkfree', () => {
  test('equal norms give the mean', () => {
    fc.assert(
      fc.property(vector, vector, norm, (a, b, n) => {
        const { weights } = checkfree.rebuild(sources(a, b, n, n), initial, settings)
        expect(weights).toBeAllclose(
          a.map((x, i) => (x + b[i]!) / 2),
          { relative: 1e-6 },
        )
      }),
    )
  })

  test.each([0, 1, 2])(
    'norms (a, b) at exponent %i give (a^e W- + b^e W+) / (a^e + b^e)',
    (normExponent) => {
      fc.assert(
        fc.property(vector, vector, norm, norm, (a, b, na, nb) => {
          const rebuilt = checkfree.rebuild(sources(a, b, na, nb), initial, {
            ...settings,
            normExponent,
          })
          const [wa, wb] = [na ** normExponent, nb ** normExponent]
          expect(rebuilt.weights).toBeAllclose(
            a.map((x, i) => (wa * x + wb * b[i]!) / (wa + wb)),
            // Against the inputs' magnitude: the average may cancel to nothing.
            {
              relative:
                1e-6 *
                (200 /
                  Math.max(1e-6, ...a.map((x, i) => Math.abs((wa * x + wb * b[i]!) / (wa + wb))))),
            },
          )
          expect(rebuilt.learningRateScale).toBe(1.1)
          expect(rebuilt.norms).toEqual([na, nb])
        }),
      )
    },
  )

  test('before the first update, and with norms of zero, neighbours weigh the same', () => {
    for (const [na, nb] of [
      [null, null],
      [0, 0],
    ] as const) {
      const { weights } = checkfree.rebuild(
        sources([0, 2, 4], [2, 2, 0], na, nb),
        initial,
        settings,
      )
      expect([...weights]).toEqual([1, 2, 2])
    }
  })
})

test('copy is exact, random is the initial weights', () => {
  const [donor] = sources([1, 2, 3], [0, 0, 0], 5, 5)
  const copied = STRATEGIES.get('copy')!.rebuild([donor!], initial, settings)
  expect([...copied.weights]).toEqual([1, 2, 3])
  const random = STRATEGIES.get('random')!.rebuild([], initial, settings)
  expect([...random.weights]).toEqual([9, 9, 9])
})

describe('the policy', () => {
  const policy = ['checkfree', 'copy', 'random']
  const all = [0, 1, 2, 3, 4, 5, 6]
  const chosenFor = (stage: number, lost: number[]) => {
    const live = new Set(all.filter((other) => !lost.includes(other)))
    const { chosen, skipped } = choose(policy, { stage, bodyStages: 6, live, noCheckpoint: null })
    return [chosen?.strategy.name, chosen?.donors, skipped.length]
  }

  test.each([
    ['a middle stage', 3, [3], ['checkfree', [2, 4], 0]],
    ['the first body stage', 1, [1], ['copy', [2], 1]],
    ['the last body stage', 6, [6], ['copy', [5], 1]],
    ['the left of two adjacent losses', 3, [3, 4], ['copy', [2], 1]],
    ['the right of two adjacent losses', 4, [3, 4], ['copy', [5], 1]],
    ['a stage between two lost ones', 3, [2, 3, 4], ['random', [], 2]],
    ['the ends', 0, [0], [undefined, undefined, 3]],
  ])('for %s', (_, stage, lost, expected) => {
    expect(chosenFor(stage, lost)).toEqual(expected)
  })

  test('says why it passes a row over', () => {
    const live = new Set([0, 1, 2, 5, 6])
    const { skipped } = choose(policy, { stage: 3, bodyStages: 6, live, noCheckpoint: null })
    expect(skipped).toEqual([
      { strategy: 'checkfree', reason: 'its neighbour stage 4 is lost too' },
    ])
  })
})
